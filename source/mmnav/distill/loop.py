"""Distillation: MM-Nav's two stages, from experts and a simulator to a student (arXiv 2510.03142)."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator
from torch import nn

from ..data import Demo, Frames, Replay, ShardWriter, read_demos
from ..data.pixels import StoredPixels
from ..data.replay import Viewer
from ..errors import UserError
from ..evaluate import Episode, summarize
from ..files import fresh_folder, replace_folder, write_atomically, writing
from ..rig import random_day
from ..vla import MMNavForAction, MMNavProcessor, load_student, save_student
from .adapters import low_rank
from .balance import gap, shares
from .display import Display
from .encoded import EncodedFrames
from .pretrain import DepthPretraining, PanoramaPretraining, Pretraining, PromptReading, lessons_of
from .results import best_stage, describe_student, read_run
from .samples import ChunkSamples, DepthSamples, PanoramaSamples, PromptSamples, StepDraw, WindowSamples
from .settings import PARTS, DistillCfg, Part
from .sharding import computes_again
from .trainer import Samples, Trainer, TrainerCfg, check_processes

_FIRST_ITERATION = 500
"""Rounds of stage 2 are numbered from here on, those of stage 1 from 0."""

_BARREN_ROUNDS = 5
"""Rounds of 40 s in which the expert of a capability reaches no goal, after which it is given up."""


class Simulator(Protocol):
    """Where the robots are: the tasks on the simulator's side of the house."""

    families: Sequence[str]
    """Names of the capabilities, in the order of their experts."""

    def collect(
        self,
        shares: Sequence[float],
        steps: int,
        *,
        student: tuple[MMNavForAction, MMNavProcessor] | None,
        mixing: float,
        disturbance: float,
        round_index: int,
        pixels: bool,
        on_step: Callable[[int], None],
    ) -> list[Demo]:
        """Rolls out, every step labelled by the capability's expert; experts drive if there is no student."""
        ...

    def evaluate(
        self, student: tuple[MMNavForAction, MMNavProcessor] | None, episodes: int, on_step: Callable[[int], None]
    ) -> dict[str, list[Episode]]:
        """Episodes of each capability on layouts that nothing was learned on; of the experts if there is no student."""
        ...


def check_learning(cfg: DistillCfg, model: MMNavForAction, accelerator: Accelerator) -> None:
    """Raises UserError if the processes cannot learn a lesson or a stage as they are told to."""
    if cfg.lora_rank and "language_model" not in model.pretrained:
        raise UserError(f"lora_rank is {cfg.lora_rank}; it must be 0 unless --language gives a pretrained model.")
    if cfg.gradient_checkpointing and computes_again(accelerator):
        raise UserError(
            "gradient_checkpointing is true; it must be false, as fsdp_activation_checkpointing does the same."
        )
    for name in (*lessons_of(model), "offline", "online"):
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
        check_learning(cfg, self.model, self._accelerator)
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
            "stages": [],
        }
        before = read_run(cfg, self.folder, self.model.config, origin)
        if before is not None:
            self.results = before | {name: self.results[name] for name in ("cfg", "command")}
        if cfg.gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
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
        if not self.results["experts"]:
            self._display.say("Evaluating the experts on the validation layouts")
            experts = self._evaluate(None)
            for family, row in experts.items():
                if row["WTT"] is None:
                    raise UserError(f"the expert of {family} reached no goal in {row['episodes']} episodes; is it one?")
            self.results["experts"] = experts
            self._keep()
        demos = self._demonstrations()
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

    def _demonstrations(self) -> list[Demo]:
        """Successful episodes of the experts, an equal share of steps of each capability."""
        kept, recorded = [], dict.fromkeys(self.families, 0)
        for demo in self._recorded("stage 1", self._record_experts):
            if recorded[demo.family] < self.cfg.demo_steps:
                recorded[demo.family] += len(demo)
                kept.append(demo)
        return kept

    def _record_experts(self, writer: ShardWriter) -> None:
        """Lets the experts drive until there is enough of each capability; a round is a shard."""
        cfg, missing = self.cfg, dict.fromkeys(self.families, self.cfg.demo_steps)
        for heading in writer.headings():
            missing[heading.family] -= heading.steps * self._accelerator.num_processes
        with self._display.bar("experts drive", cfg.demo_steps * len(missing)) as bar:
            tell = lambda: bar.to(sum(cfg.demo_steps - max(steps, 0) for steps in missing.values()))  # noqa: E731
            tell()
            barren = dict.fromkeys(missing, 0)
            while any(steps > 0 for steps in missing.values()):
                if writer.shard_count == _FIRST_ITERATION:
                    raise UserError(
                        f"demo_steps {cfg.demo_steps} take over {_FIRST_ITERATION} rounds; use more robots."
                    )
                wanted = [max(missing[name], 0.02 * cfg.demo_steps) for name in self.families]
                total = sum(wanted)
                demos = self._simulator.collect(
                    [steps / total for steps in wanted],
                    400,
                    student=None,
                    mixing=0.0,
                    disturbance=cfg.disturbance,
                    round_index=writer.shard_count,
                    pixels=cfg.pixels == "stored",
                    on_step=lambda step: None,
                )
                kept = [demo for demo in self._finite(demos) if demo.succeeded]
                if not kept:
                    raise UserError("the experts did not reach a single goal in 40 s; there is nothing to learn from.")
                barren = {name: 0 if any(d.family == name for d in kept) else n + 1 for name, n in barren.items()}
                for name, rounds in barren.items():
                    if missing[name] > 0 and rounds == _BARREN_ROUNDS:
                        told = f"reached no goal in {rounds} rounds of 40 s; disturbance is {cfg.disturbance}"
                        raise UserError(f"the expert of {name} {told}.")
                for demo in kept:
                    missing[demo.family] -= len(demo) * self._accelerator.num_processes
                    writer.write(demo)
                writer.flush()
                tell()

    def _pretrain(self, demos: list[Demo]) -> None:
        """Loads the demonstrations; teaches what comes without pretrained weights to measure, to see and to read."""
        cfg, folder = self.cfg, self.folder / "students" / "pretrained"
        self._frames.extend(demos)
        self._demo_steps = len(self._frames)
        if not folder.is_dir():
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
            record = partial(self._record_student, name=name, part=part, iteration=iteration)
            self._frames.extend(list(self._recorded(name, record)))
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

    def _record_student(self, writer: ShardWriter, name: str, part: Mapping[str, float], iteration: int) -> None:
        """Lets the student drive for an iteration, which is one shard; the experts label what happens to it."""
        if writer.shard_count:
            return
        self.model.eval()
        with self._display.bar(f"{name}: the student drives", self.cfg.rollout_steps) as bar:
            demos = self._simulator.collect(
                list(part.values()),
                self.cfg.rollout_steps,
                student=(self.model, self.processor),
                mixing=self.cfg.mixing,
                disturbance=0.0,
                round_index=_FIRST_ITERATION + iteration,
                pixels=self.cfg.pixels == "stored",
                on_step=bar.to,
            )
        for demo in self._finite(demos):
            writer.write(demo)

    def _finite(self, demos: list[Demo]) -> list[Demo]:
        """The episodes without those that a number spoilt: one robot's mishap does not end a run."""
        finite = [demo for demo in demos if demo.is_finite]
        if len(finite) < len(demos):
            self._display.say(f"{len(demos) - len(finite)} episodes are left out: a number in them is not finite")
        return finite

    def _recorded(self, name: str, record: Callable[[ShardWriter], None]) -> Iterator[Demo]:
        """A stage's episodes, recorded unless they were; an interrupted recording goes on after its last shard."""
        folder, accelerator = self.folder / "episodes" / name, self._accelerator
        complete = (folder / "complete").is_file()
        accelerator.wait_for_everyone()
        if not complete:
            args = {"env_name": "Mmnav-Distill", "versions": self.results["versions"]}
            own = {"seed": self.cfg.seed, "rank": accelerator.process_index, "episodes_a_shard": sys.maxsize}
            with ShardWriter(folder, args, **own) as writer:
                record(writer)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                write_atomically(folder / "complete", "")
        return read_demos(folder, self.cfg.pixels == "stored")

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
