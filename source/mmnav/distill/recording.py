"""Recording: who drives for a distillation, and what is kept of it; nothing is driven twice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from ..data import Demo, ShardWriter, read_demos
from ..errors import UserError
from ..files import write_atomically
from ..vla import MMNavForAction, MMNavProcessor
from .display import Display
from .settings import DistillCfg
from .simulator import Simulator

_FIRST_ITERATION = 500
"""Rounds of stage 2 are numbered from here on, those of stage 1 from 0."""

_BARREN_ROUNDS = 5
"""Rounds of 40 s in which the expert of a capability reaches no goal, after which it is given up."""


class Recorder:
    """Records the episodes that a run learns from, a folder for each stage; what is recorded is read."""

    def __init__(
        self,
        cfg: DistillCfg,
        folder: Path,
        simulator: Simulator,
        versions: Mapping[str, str],
        accelerator: Accelerator,
        display: Display,
    ):
        """Records nothing yet.

        Args:
            cfg: What to record.
            folder: Where: ``FOLDER/STAGE``.
            simulator: Where the robots are.
            versions: Of the packages, for the files.
            accelerator: The processes, each of which records shards of its own.
            display: What shows the progress.
        """
        self._cfg, self._folder, self._simulator, self._versions = cfg, Path(folder), simulator, versions
        self._accelerator, self._display = accelerator, display

    def demonstrations(self) -> list[Demo]:
        """Successful episodes of the experts, an equal share of steps of each capability.

        Raises:
            UserError: If an expert reaches no goals, or there are too few robots for so many steps.
        """
        kept, recorded = [], dict.fromkeys(self._simulator.families, 0)
        for demo in self._recorded("stage 1", self._record_experts):
            if recorded[demo.family] < self._cfg.demo_steps:
                recorded[demo.family] += len(demo)
                kept.append(demo)
        return kept

    def iteration(
        self, number: int, student: tuple[MMNavForAction, MMNavProcessor], shares: Mapping[str, float]
    ) -> list[Demo]:
        """What happens to a student in an iteration of stage 2, labelled by the experts.

        Args:
            number: Of the iteration, from 1.
            student: Who drives.
            shares: Of the robots, by capability.
        """
        name = f"iteration {number}"
        record = partial(self._record_student, name=name, number=number, student=student, shares=shares)
        return list(self._recorded(name, record))

    def _record_experts(self, writer: ShardWriter) -> None:
        """Lets the experts drive until there is enough of each capability; a round is a shard."""
        cfg, processes = self._cfg, self._accelerator.num_processes
        missing = dict.fromkeys(self._simulator.families, cfg.demo_steps)
        barren = dict.fromkeys(missing, 0)
        for heading in writer.headings():
            missing[heading.family] -= heading.steps * processes
        with self._display.bar("experts drive", cfg.demo_steps * len(missing)) as bar:
            tell = lambda: bar.to(sum(cfg.demo_steps - max(steps, 0) for steps in missing.values()))  # noqa: E731
            tell()
            while any(steps > 0 for steps in missing.values()):
                if writer.shard_count == _FIRST_ITERATION:
                    raise UserError(
                        f"demo_steps {cfg.demo_steps} take over {_FIRST_ITERATION} rounds; use more robots."
                    )
                kept = self._experts_drive(missing, writer.shard_count)
                for name in missing:
                    barren[name] = 0 if any(demo.family == name for demo in kept) else barren[name] + 1
                    if missing[name] > 0 and barren[name] == _BARREN_ROUNDS:
                        told = f"reached no goal in {_BARREN_ROUNDS} rounds of 40 s; disturbance is {cfg.disturbance}"
                        raise UserError(f"the expert of {name} {told}.")
                for demo in kept:
                    missing[demo.family] -= len(demo) * processes
                    writer.write(demo)
                writer.flush()
                tell()

    def _experts_drive(self, missing: Mapping[str, float], round_index: int) -> list[Demo]:
        """A round of the experts: its successes. The robots are shared out by the steps that are missing."""
        wanted = [max(steps, 0.02 * self._cfg.demo_steps) for steps in missing.values()]
        demos = self._simulator.collect(
            [steps / sum(wanted) for steps in wanted],
            400,
            student=None,
            mixing=0.0,
            disturbance=self._cfg.disturbance,
            round_index=round_index,
            pixels=self._cfg.pixels == "stored",
            on_step=lambda step: None,
        )
        kept = [demo for demo in self._finite(demos) if demo.succeeded]
        if not kept:
            raise UserError("the experts did not reach a single goal in 40 s; there is nothing to learn from.")
        return kept

    def _record_student(
        self,
        writer: ShardWriter,
        name: str,
        number: int,
        student: tuple[MMNavForAction, MMNavProcessor],
        shares: Mapping[str, float],
    ) -> None:
        """Lets the student drive for an iteration, which is one shard; the experts label what happens to it."""
        if writer.shard_count:
            return
        student[0].eval()
        with self._display.bar(f"{name}: the student drives", self._cfg.rollout_steps) as bar:
            demos = self._simulator.collect(
                list(shares.values()),
                self._cfg.rollout_steps,
                student=student,
                mixing=self._cfg.mixing,
                disturbance=0.0,
                round_index=_FIRST_ITERATION + number,
                pixels=self._cfg.pixels == "stored",
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

    def _recorded(self, stage: str, record: Callable[[ShardWriter], None]) -> Iterator[Demo]:
        """A stage's episodes, recorded unless they were; an interrupted recording goes on after its last shard."""
        folder, accelerator = self._folder / stage, self._accelerator
        complete = (folder / "complete").is_file()
        accelerator.wait_for_everyone()
        if not complete:
            args = {"env_name": "Mmnav-Distill", "versions": self._versions}
            own = {"seed": self._cfg.seed, "rank": accelerator.process_index, "episodes_a_shard": sys.maxsize}
            with ShardWriter(folder, args, **own) as writer:
                record(writer)
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                write_atomically(folder / "complete", "")
        return read_demos(folder, self._cfg.pixels == "stored")
