"""What a training run shows: a live bar on a terminal, a line per evaluation in a log."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from mmnav.progress import progress_bar

from .runner import Progress


class RunDisplay:
    """Shows a run's progress on the main process; used as a context."""

    def __init__(self, task: str, run: Path, env_cfg, agent_cfg):
        self._quiet = int(os.getenv("RANK", "0")) != 0
        self._console = Console(soft_wrap=True, quiet=self._quiet)
        self._console.print(
            f"Training [bold]{task}[/] on {env_cfg.sim.device}: {env_cfg.scene.num_envs} envs, "
            f"{agent_cfg.max_iterations} iterations of {agent_cfg.num_steps_per_env} steps, seed {agent_cfg.seed}."
        )
        self._console.print(f"Run: {run}   (curves: tensorboard --logdir {run.parent})")
        self._bar = progress_bar(self._console, live=self._console.is_terminal and not self._quiet)
        self._row = self._bar.add_task("starting", total=agent_cfg.max_iterations, status="")
        self._shown: dict | None = None

    def __enter__(self) -> RunDisplay:
        self._bar.start()
        return self

    def __exit__(self, *exception) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Moves the bar; prints a line when there is a new evaluation."""
        status = f"{progress.steps_per_second:7,.0f} steps/s  difficulty {progress.difficulty:.1f}"
        status += f"  return {progress.reward:6.2f}"
        self._bar.update(self._row, completed=progress.iteration, description="training", status=status)
        if progress.validation is not None and progress.validation is not self._shown:
            self._shown = row = progress.validation
            self._console.print(
                f"iteration {progress.iteration:5d}/{progress.total}  held-out SR {100 * row['SR']:5.1f} %  "
                f"CR {100 * row['CR']:5.1f} %  TO {100 * row['TO']:5.1f} %  difficulty {progress.difficulty:.1f}  "
                f"{progress.steps_per_second:,.0f} steps/s"
            )

    def interrupted(self, iteration: int) -> None:
        """Says that the user stopped the run."""
        self._console.print(f"Interrupted after {iteration} iterations; a checkpoint of them is kept.")
