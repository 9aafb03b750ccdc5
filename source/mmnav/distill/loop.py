"""Distillation: MM-Nav's two stages, from experts and a simulator to a student (arXiv 2510.03142)."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from ..data import Demo, Frames, Replay
from ..data.pixels import StoredPixels
from ..data.replay import Viewer
from ..errors import UserError
from ..evaluate import summarize
from ..files import fresh_folder, replace_folder, write_atomically, writing
from ..rig import random_day
from ..vla import MMNavForAction, MMNavProcessor, load_student, save_student
from .adapters import low_rank
from .balance import gap, shares
from .display import Display
from .encoded import EncodedFrames
from .pretrain import DepthPretraining, PanoramaPretraining, Pretraining, PromptReading, lessons_of
from .recording import Recorder
from .results import best_stage, changes, describe_student, read_run
from .samples import ChunkSamples, DepthSamples, PanoramaSamples, PromptSamples, StepDraw, WindowSamples
from .settings import PARTS, DistillCfg, Part
from .sharding import computes_again
from .simulator import Simulator
from .trainer import Samples, Trainer, TrainerCfg, check_processes


def check_learning(cfg: DistillCfg, folder: Path, model: MMNavForAction, accelerator: Accelerator) -> None:
    """Raises UserError if the processes cannot learn a stage, or a lesson still to come, as they are told to."""
    if cfg.lora_rank and "language_model" not in model.pretrained:
        raise UserError(f"lora_rank is {cfg.lora_rank}; it must be 0 unless --language gives a pretrained model.")
    if cfg.gradient_checkpointing and computes_again(accelerator):
        raise UserError(
            "gradient_checkpointing is true; it must be false, as fsdp_activation_checkpointing does the same."
        )
    lessons = () if (Path(folder) / "students" / "pretrained").is_dir() else lessons_of(model)
    for name in (*lessons, "offline", "online"):
        check_processes(getattr(cfg, name), accelerator, name)


class Distillation:
    """A run: its folder holds everything, so that it can be stopped anywhere and go on anywhere.

    ``settings.yaml`` says what is to be done and ``results.json`` what is; ``episodes/<stage>`` are the recordings,
    ``train/<stage>`` the trainers' states and curves, ``students/<stage>`` the students, ``students/best`` the best one
    by mean success.
    """

    def __init__(
        self,
        cfg: DistillCfg,
        folder: Path,
        student: tuple[MMNavForAction, MMNavProcessor],
        simulator: Simulator,
        *,
        origin: Mapping[str, object] | None = None,
        accelerator: Accelerator | None = None,
        display: Display | None = None,
        command: str = "",
        settings: str = "",
    ):
        """Opens a run, or goes on with it.

        Args:
            cfg: What to do.
            folder: The run's folder.
            student: The student to begin with.
            simulator: Where the robots are.
            origin: What else must be the same if the run goes on, as plain data: its experts, its precision.
            accelerator: Processes and precision.
            display: What shows the progress.
            command: What the user said, for the report.
            settings: What :func:`mmnav.distill.settings.load_settings` reads to do the same again; every student of
                the run comes with it.

        Raises:
            UserError: If the folder holds a run of another configuration, student or origin, or its processes cannot
                learn as they are told to.
        """
        self.cfg, self.folder, self._simulator = cfg, Path(folder), simulator
        self.model, self.processor = student
        origin = {"pretrained": sorted(self.model.pretrained), **(origin or {})}
        self._accelerator = accelerator or Accelerator()
        check_learning(cfg, self.folder, self.model, self._accelerator)
        self._display = display or Display(quiet=True)
        self.families = list(simulator.families)
        self._path = self.folder / "results.json"
        self._texts = {"settings.yaml": settings} if settings else {}
        self.results = {
            "families": self.families,
            "command": command,
            "seed": cfg.seed,
            "episodes": cfg.episodes,
            "cfg": json.loads(json.dumps(asdict(cfg))),
            "student": describe_student(self.model.config),
            "origin": origin,
            "versions": {name: version(name) for name in ("torch", "transformers", "accelerate", "warp-lang")},
            "experts": {},
            "lessons": {"seconds": 0.0},
            "stages": [],
        }
        before = read_run(cfg, self.folder, self.model.config, origin)
        self._changes = changes(before["cfg"], self.results["cfg"]) if before else []
        if before is not None:
            self.results |= before | {name: self.results[name] for name in ("cfg", "command")}
        if cfg.gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        versions = self.results["versions"]
        self._recorder = Recorder(cfg, self.folder / "episodes", simulator, versions, self._accelerator, self._display)
        self._frames = Frames()
        self._encoded = EncodedFrames(
            self._frames, self.model, self.processor, self._viewer, cfg.seed, self._accelerator, self._display
        )

    def run(self, until: Part = "online") -> dict:
        """Does what is not done yet; returns the results.

        Args:
            until: The last one of :data:`mmnav.distill.settings.PARTS` to do.
        """
        parts = PARTS[: PARTS.index(until) + 1]
        if self._accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in self._texts.items():
                write_atomically(self.folder / name, text)
        if self._changes:
            self._display.say("Other settings than before: " + ", ".join(self._changes))
        if not self.results["experts"]:
            self._display.say("Evaluating the experts on the validation layouts")
            experts = self._evaluate(None)
            for family, row in experts.items():
                if row["WTT"] is None:
                    raise UserError(f"the expert of {family} reached no goal in {row['episodes']} episodes; is it one?")
            self.results["experts"] = experts
        self._keep()  # with the settings, before anything is done by them
        demos = self._recorder.demonstrations()
        if "lessons" in parts:
            self._pretrain(demos)
        if "offline" in parts:
            self._stage("stage 1", self.cfg.offline, lambda: dict.fromkeys(self.families, 1 / len(self.families)))
        if "online" in parts:
            for iteration in range(1, self.cfg.iterations + 1):
                self._stage(f"iteration {iteration}", self.cfg.online, self._shares, iteration)
        if self.results["stages"]:
            self._keep_best()
        return self.results

    def best(self) -> tuple[MMNavForAction, MMNavProcessor]:
        """The best student of a finished run, on the run's device."""
        self._load_student(self.folder / "students" / "best")
        self.model.eval()
        return self.model, self.processor

    # -- the stages

    def _pretrain(self, demos: list[Demo]) -> None:
        """Loads the demonstrations; teaches what comes without pretrained weights to measure, to see and to read."""
        cfg, folder = self.cfg, self.folder / "students" / "pretrained"
        self._frames.extend(demos)
        self._demo_steps = len(self._frames)
        if not folder.is_dir():
            began = time.perf_counter()
            model, lessons = self.model, lessons_of(self.model)
            has_learned = "vision_tower" in model.pretrained
            model.freeze_tower(has_learned, statistics=has_learned)
            draw = StepDraw(self._frames, self.families, self._equal(), cfg.seed)
            device = self._accelerator.device
            if "sight" in lessons:
                rig, look = model.config.rig, random_day()
                samples = DepthSamples(self._frames, draw, rig, look, self.processor, cfg.seed, device)
                self._teach("sight", DepthPretraining(model, cfg.seed), samples, cfg.sight)
            if "panorama" in lessons:
                features = self._encoded.features()
                samples = PanoramaSamples(self._frames, features, draw, self.processor, model.config, device)
                self._teach("panorama", PanoramaPretraining(model), samples, cfg.panorama)
            if "reading" in lessons:
                samples = PromptSamples(self.processor, cfg.seed)
                self._teach("reading", PromptReading(model, cfg.seed), samples, cfg.reading)
            self.model.set_action_statistics(self._frames.arrays["expert_action"])
            self._save_student(folder)
            self.results["lessons"] = {"seconds": round(time.perf_counter() - began, 1)}
            self._keep()
        self._load_student(folder)

    def _teach(self, name: str, pretraining: Pretraining, samples: Samples, cfg: TrainerCfg) -> None:
        """Trains the parts that a pretraining is for; saves the end, which no student holds until the last lesson."""
        with pretraining.only_parts_learn():
            self._train(name, pretraining, samples, cfg, save=True)

    def _stage(self, name: str, trainer: TrainerCfg, choose: Callable[[], Mapping], iteration: int = 0) -> None:
        """Collects (in stage 2), trains, evaluates and notes one stage."""
        folder = self.folder / "students" / name
        done = next((stage for stage in self.results["stages"] if stage["name"] == name), None)
        part = done["shares"] if done else dict(choose())
        began = time.perf_counter()
        if iteration:
            self._frames.extend(self._recorder.iteration(iteration, (self.model, self.processor), part))
        if done:
            self._load_student(folder)
            return
        self._display.say(f"[bold]{name}[/]: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in part.items()))
        own = {"demo_steps": self._demo_steps, "demo_share": self.cfg.demo_share} if iteration else {}
        draw = StepDraw(self._frames, self.families, list(part.values()), self.cfg.seed + iteration, **own)
        self.model.freeze_tower(self.cfg.frozen_tower, statistics=True)
        with low_rank(self.model.language_model, self.cfg.lora_rank, self.cfg.seed + iteration):
            loss = self._train(name, self.model, self._samples(draw, iteration), trainer)
        self._save_student(folder)
        rows = self._evaluate((self.model, self.processor))
        gaps = {family: round(gap(rows[family], self.results["experts"][family]), 4) for family in self.families}
        self.results["stages"].append(
            {
                "name": name,
                "rows": rows,
                "gaps": gaps,
                "shares": {family: round(share, 4) for family, share in part.items()},
                "demos": len(self._frames.families),
                "steps": len(self._frames),
                "seconds": round(time.perf_counter() - began, 1),
                "loss": round(loss, 5),
            }
        )
        self._keep()
        told = ", ".join(f"{k} {100 * row['SR']:.1f} %" for k, row in rows.items())
        self._display.say(f"[bold]{name}[/]: success {told}")

    def _shares(self) -> dict[str, float]:
        """The capabilities' shares by the gaps that the last stage left."""
        return shares(self.results["stages"][-1]["gaps"], self.cfg.balance == "on")

    # -- what the stages share

    def _samples(self, draw: StepDraw, iteration: int) -> Samples:
        """Windows of encoded frames for a frozen tower, chunks of rendered ones for one that learns."""
        config = self.model.config
        if self.cfg.frozen_tower:
            return WindowSamples(self._frames, self._encoded.features(), draw, self.processor, config)
        return ChunkSamples(
            self._frames, draw, self._viewer, self.processor, config, self.cfg.chunk, self.cfg.seed + iteration
        )

    def _viewer(self, batch: int) -> Viewer:
        """What shows as many steps at a time."""
        if self.cfg.pixels == "stored":
            return StoredPixels(self.model.config.view_count)
        return Replay(self.model.config.rig, random_day(), batch, self._accelerator.device)

    def _train(self, name: str, module: nn.Module, samples: Samples, cfg: TrainerCfg, save: bool = False) -> float:
        """Trains a module to the end of its steps; goes on where an interrupted run stopped."""
        trainer = Trainer(module, samples, cfg, self.folder / "train" / name, self._accelerator)
        with self._display.bar(f"{name}: training", cfg.steps) as bar:
            first = trainer.step
            loss = trainer.fit(lambda p: bar.to(p.step, f"loss {p.loss:.4f}  {p.samples_per_second:,.0f} samples/s"))
        if save and trainer.step > first:
            trainer.save()
        self._accelerator.free_memory()
        return loss

    def _evaluate(self, student: tuple[MMNavForAction, MMNavProcessor] | None) -> dict[str, dict]:
        """A row of results for each capability."""
        self.model.eval()
        count = self.cfg.episodes * len(self.families)
        with self._display.bar("evaluating", count) as bar:
            episodes = self._simulator.evaluate(student, self.cfg.episodes, bar.to)
        return {family: summarize(list_) for family, list_ in episodes.items()}

    def _equal(self) -> list[float]:
        return [1 / len(self.families)] * len(self.families)

    def _save_student(self, folder: Path) -> None:
        """Writes the student; complete or not there."""
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            save_student(folder, self.model, self.processor, self._texts)
        self._accelerator.wait_for_everyone()

    def _load_student(self, folder: Path) -> None:
        """Takes a saved student's weights."""
        saved, _ = load_student(folder)
        self.model.load_state_dict(saved.state_dict())

    def _keep_best(self) -> None:
        """Copies the student with the highest mean success to ``students/best``."""
        best = self.results["stages"][best_stage(self.results)]
        self.results["best"] = best["name"]
        self._keep()
        target = self.folder / "students" / "best"
        if self._accelerator.is_main_process:
            with writing(target):
                shutil.copytree(self.folder / "students" / best["name"], fresh_folder(target), dirs_exist_ok=True)
                replace_folder(target)

    def _keep(self) -> None:
        """Writes ``results.json``."""
        if self._accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(self.results, indent=2) + "\n")
