"""The robots of a distillation: rollouts and evaluations in one env of ``Mmnav-Distill``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from tensordict import TensorDict

from mmnav.data import Demo
from mmnav.distill.loop import Distillation, check_learning
from mmnav.distill.settings import Words, told_settings
from mmnav.errors import UserError
from mmnav.evaluate import Episode
from mmnav.evaluate.video import Recording
from mmnav.files import fingerprint
from mmnav.memory import keep_freed_memory
from mmnav.scenes import BlendCfg, as_record
from mmnav.vla import MMNavForAction, MMNavProcessor
from mmnav.vla.readout import CPU_ATTENTION
from mmnav.vla.scales import pretrained_folder

from .collect import Collector, ask_experts
from .policies import ExpertPolicy, StudentPolicy
from .rollout import Policy, evaluation_layouts, record_episodes, run_episodes

VALIDATION_SEED = 900
"""Evaluation seed of the layouts that a run chooses its best student by; final tables use others."""

_PATIENCE = timedelta(hours=6)
"""How long processes wait for one that records, writes or renders a report; torch's default is ten minutes."""

Student = tuple[MMNavForAction, MMNavProcessor]


class Robots:
    """A :class:`mmnav.distill.simulator.Simulator` in Isaac Lab."""

    def __init__(self, env, experts: dict[str, ExpertPolicy], *, seed: int, rank: int = 0, precision: str = "fp32"):
        """Takes an env.

        Args:
            env: The unwrapped env, as many robots as are to be rolled out at a time.
            experts: The expert of each family, in the order of the env's blend.
            seed: Seed of the run.
            rank: Number of this process; every process has layouts of its own.
            precision: The students': ``fp32`` or ``bf16``.
        """
        self._env, self._experts, self._precision = env, experts, precision
        self.families = list(experts)
        self._collector = Collector(env, experts, seed=seed, rank=rank)

    def collect(
        self,
        shares: Sequence[float],
        steps: int,
        *,
        student: Student | None,
        mixing: float,
        disturbance: float,
        round_index: int,
        pixels: bool,
        on_step: Callable[[int], None],
    ) -> list[Demo]:
        """Rolls out; see :meth:`Collector.collect`."""
        driver = StudentPolicy(*student, self._precision) if student else None
        return self._collector.collect(
            shares,
            steps,
            student=driver,
            mixing=mixing,
            disturbance=disturbance,
            round_index=round_index,
            pixels=pixels,
            on_step=on_step,
        )

    def evaluate(
        self, student: Student | None, episodes: int, on_step: Callable[[int], None]
    ) -> dict[str, list[Episode]]:
        """Runs the same validation layouts at every call, as many at a time as there are robots.

        Args:
            student: Who drives; each family's expert if None.
            episodes: Episodes of each family.
            on_step: Called after every step with the number of episodes that have ended.
        """
        env, layouts, policy = self._env, self._validation_layouts(episodes), self._driver(student)
        done: list[Episode] = []
        for first in range(0, len(layouts), env.num_envs):
            part = layouts[first : first + env.num_envs]
            tell = lambda ended, before=first: on_step(before + ended)  # noqa: E731
            done += run_episodes(env, policy, part, 0, tell)
        return {name: done[i * episodes : (i + 1) * episodes] for i, name in enumerate(self.families)}

    def telling(
        self, student: Student, worst: int, on_step: Callable[[int], None] = lambda ended: None
    ) -> list[Recording]:
        """Records some episodes of a round of validation layouts, which go as they go in an evaluation.

        Args:
            student: Who drives.
            worst: How many that go worst, in turns of the families: failures first, then near misses. One more of each
                family is typical: the success that takes the median time.
            on_step: Called after every step with the number of episodes that have ended; every one is run twice, once
                to choose and once to record.
        """
        if worst < 1:
            return []
        each = max(1, self._env.num_envs // len(self.families))
        failing, typical = [], {}
        for i, (family, episodes) in enumerate(self.evaluate(student, each, on_step).items()):
            title = f"{family}, validation layout {{}}, {{}}".format
            failing.append([(i * each + k, title(k, "of the worst")) for k in _by_merit(episodes)])
            k = _typical(episodes)
            if k is not None:
                typical[i * each + k] = title(k, "typical")
        chosen = itertools.islice(itertools.chain.from_iterable(zip(*failing, strict=True)), worst)
        titles = dict(chosen) | typical
        layouts = self._validation_layouts(each)
        tell = lambda ended: on_step(len(layouts) + ended)  # noqa: E731
        return record_episodes(self._env, self._driver(student), layouts, 0, titles, tell)

    def _validation_layouts(self, episodes: int) -> np.ndarray:
        """Layouts of so many episodes of each family, family by family."""
        own = evaluation_layouts(VALIDATION_SEED, episodes)
        return np.concatenate([self._env.cfg.layout.blend(i, own) for i in range(len(self.families))])

    def _driver(self, student: Student | None) -> Policy:
        if student is None:
            return _Experts(self._experts)
        return StudentPolicy(*student, self._precision)


def _by_merit(episodes: Sequence[Episode]) -> list[int]:
    """Indices of episodes, the worst first: failures, then near misses."""
    return sorted(range(len(episodes)), key=lambda k: (episodes[k].succeeded, episodes[k].clearance))


def _typical(episodes: Sequence[Episode]) -> int | None:
    """Index of the success that takes the median time; None if nothing succeeds."""
    good = sorted((k for k, e in enumerate(episodes) if e.succeeded), key=lambda k: episodes[k].time)
    return good[len(good) // 2] if good else None


class _Experts(Policy):
    """Every robot driven by the expert of its family."""

    def __init__(self, experts: dict[str, ExpertPolicy]):
        self._experts = experts

    def reset(self, env) -> None:
        for expert in self._experts.values():
            expert.reset(env)
        self._family = env.world.layouts.family.to(env.device)

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        return ask_experts(self._experts, obs, self._family)


def load_experts(folder: Path, device: str) -> dict[str, ExpertPolicy]:
    """The experts of all capabilities, by their families' names in the order of the blend.

    Raises:
        UserError: If one is missing or cannot be read.
    """
    folders = _expert_folders(folder)
    missing = [path.name for path in folders.values() if not path.is_dir()]
    if missing:
        raise UserError(f"--experts {folder}: no folder {', '.join(missing)} there.")
    return {name: ExpertPolicy(str(path), device) for name, path in folders.items()}


def origin_of(
    experts: Path, precision: str, vision: str | None = None, language: str | None = None
) -> dict[str, object]:
    """What a run is made with besides its settings and its student's configuration: it cannot go on with anything else.

    Args:
        experts: Folder of the experts.
        precision: ``fp32`` or ``bf16``.
        vision: Folder of the pretrained vision tower, if one is given.
        language: Folder or package of the pretrained language model, if one is given.
    """
    prints = {path.name: fingerprint(path) for path in _expert_folders(experts).values()}
    given = {
        name: word and fingerprint(pretrained_folder(f"--{name}", word))
        for name, word in {"vision": vision, "language": language}.items()
    }
    return {"experts": prints, "precision": precision, **given}


def _expert_folders(folder: Path) -> dict[str, Path]:
    """Where the expert of every family is, in the order of the blend."""
    return {name: Path(folder) / name.lower() for name in (as_record(f)["family"] for f in BlendCfg().families)}


def distil(
    words: Words,
    out: Path,
    student: Student,
    experts: dict[str, ExpertPolicy],
    origin: dict[str, object],
    device: str,
) -> None:
    """Runs a distillation in Isaac Lab and writes its report.

    Args:
        words: What to do, in a precision; the other arguments follow from them.
        out: The run's folder.
        student: The student to begin with.
        experts: Its teachers; see :func:`load_experts`.
        origin: See :func:`origin_of`.
        device: Where to simulate and learn.
    """
    from mmnav.distill.display import Display
    from mmnav.distill.report import write_report

    from .launch import running_env, task_config

    keep_freed_memory()
    cfg, precision = words.run, words.precision
    accelerator = _accelerator(device, precision)
    check_learning(cfg, out, student[0], accelerator)
    display = Display(quiet=not accelerator.is_main_process)
    if device == "cpu" and precision == "bf16":  # torch's fused attention in bf16 is slow on CPUs
        student[0].language_model.set_attn_implementation(CPU_ATTENTION)
    student[0].to(accelerator.device)
    env_cfg, _ = task_config("Distill")
    env_cfg.sim.device, env_cfg.scene.num_envs, env_cfg.seed = device, cfg.robots * len(experts), cfg.seed
    StudentPolicy(*student).prepare(env_cfg)
    display.say(f"Run: {out}   (curves: tensorboard --logdir {out / 'train'})")
    log = out / f"isaaclab_{accelerator.process_index}.log"
    with running_env("Distill", env_cfg, log=log) as env:
        robots = Robots(env.unwrapped, experts, seed=cfg.seed, rank=accelerator.process_index, precision=precision)
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        about = {"origin": origin, "accelerator": accelerator, "display": display, "command": command}
        run = Distillation(cfg, out, student, robots, **about, settings=told_settings(words))
        try:
            results = run.run(words.until)
        except KeyboardInterrupt:
            display.say("Interrupted; the same command goes on with it.")
            raise
        recordings = []
        if accelerator.is_main_process and results["stages"] and words.report_episodes > 0:
            with display.bar("recording for the report", 2 * env_cfg.scene.num_envs) as bar:
                recordings = robots.telling(run.best(), words.report_episodes, bar.to)
    if not results["stages"]:
        display.say(f"The {words.until} are there; the same command with a later --until, or none, goes on.")
    elif accelerator.is_main_process:
        page = write_report(out / "report", results, recordings)
        best = out / "students" / "best"
        display.say(f"Report:   {page}")
        display.say(f"Student:  {best}   ({results['best']})")
        display.say(f"Evaluate: ./isaaclab.sh -p scripts/evaluate.py --policy {best} --task all --out {out / 'table'}")
    accelerator.wait_for_everyone()
    accelerator.end_training()  # a process that leaves while the others are still connected may abort


def _accelerator(device: str, precision: str):
    """What spreads the learning over processes, as ``accelerate launch`` says, on a device and in a precision."""
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    if device != "cpu":
        torch.cuda.set_device(device)  # accelerate's own choice is the current device
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=device == "cpu",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
