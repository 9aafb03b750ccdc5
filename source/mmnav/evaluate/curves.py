"""Learning curves of experts: ``python -m mmnav.evaluate.curves logs/mmnav/*/* --out curves.png``.

Reads what training runs logged for TensorBoard, draws success on held-out layouts over the iterations, one panel a task
and one line a run, and prints a row a run.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from ..errors import UserError, check_folder, run_main  # noqa: E402
from .metrics import wilson_interval  # noqa: E402

_RATES = {"SR": ("success", "tab:green"), "CR": ("collision", "tab:red"), "TO": ("time-out", "tab:blue")}


@dataclass(frozen=True)
class Curve:
    """What a run logged at its evaluations."""

    task: str
    """Name of the folder that the run's folder is in."""
    run: str
    """Name of the run's folder."""
    iterations: list[int]
    """Iterations done at each evaluation."""
    minutes: list[float]
    """Time since the training's start, evaluations included [min]."""
    rates: dict[str, list[float]]
    """SR, CR and TO in [0, 1] at each evaluation."""


def read_curve(run: Path) -> Curve:
    """Reads a run's folder.

    Raises:
        UserError: If no evaluation is logged there.
    """
    log = EventAccumulator(str(run), size_guidance={"scalars": 0})
    log.Reload()
    if "Validation/SR" not in log.Tags()["scalars"]:
        raise UserError(f"{run}: no evaluation is logged there; give the folders of runs of train_expert.py.")
    # a resumed run logs some iterations again: the later entry counts
    rates = {name: {event.step: event.value for event in log.Scalars(f"Validation/{name}")} for name in _RATES}
    clock = {event.step: event.value for event in log.Scalars("Validation/minutes")}
    iterations = sorted(rates["SR"])
    return Curve(
        task=run.resolve().parent.name,
        run=run.name,
        iterations=iterations,
        minutes=[clock[i] for i in iterations],
        rates={name: [values[i] for i in iterations] for name, values in rates.items()},
    )


def curves_table(curves: list[Curve], episodes: int) -> Table:
    """A row a run: its best and last success [%], and when it came within 95 % of its best.

    Args:
        curves: The runs.
        episodes: Episodes of each evaluation, for the interval.
    """
    table = Table()
    table.add_column("task")
    table.add_column("run")
    for column in ("iterations", "minutes", "best SR [%]", "last SR [%]", "95 % interval", "95 % of best"):
        table.add_column(column, justify="right")
    for curve in curves:
        success = curve.rates["SR"]
        low, high = wilson_interval(round(success[-1] * episodes), episodes)
        near = next(i for i, value in enumerate(success) if value >= 0.95 * max(success))
        table.add_row(
            curve.task,
            curve.run,
            str(curve.iterations[-1]),
            f"{curve.minutes[-1]:.1f}",
            f"{100 * max(success):.1f}",
            f"{100 * success[-1]:.1f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
            f"{curve.minutes[near]:.1f} min",
        )
    return table


def draw_curves(curves: list[Curve]) -> plt.Figure:
    """Draws success, collisions and time-outs over the iterations, one panel a task, one line a run and rate."""
    tasks = list(dict.fromkeys(curve.task for curve in curves))
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(4.5 * len(tasks), 3.6), sharey=True, layout="constrained", squeeze=False
    )
    for axes, task in zip(panels[0], tasks, strict=True):
        for number, curve in enumerate(c for c in curves if c.task == task):
            for name, (label, color) in _RATES.items():
                percent = [100 * value for value in curve.rates[name]]
                width = 2.0 if name == "SR" else 0.9
                style = ("-", "--", ":")[number % 3]
                axes.plot(curve.iterations, percent, color=color, lw=width, ls=style, label=None if number else label)
        axes.set(title=task, xlabel="PPO iterations", ylim=(0, 100))
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("held-out episodes [%]")
    panels[0][0].legend(loc="center right", fontsize=8)
    return figure


def main() -> None:
    """Parses the command line, reads the runs, draws and prints."""
    parser = argparse.ArgumentParser(prog="python -m mmnav.evaluate.curves", description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs of train_expert.py")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="picture to write")
    parser.add_argument("--episodes", type=int, default=512, help="episodes of each evaluation: the runs' --num_envs")
    args = parser.parse_args()
    check_folder("--out", args.out)
    curves = [read_curve(run) for run in args.runs]
    draw_curves(curves).savefig(args.out, dpi=110)
    Console(width=130).print(curves_table(curves, args.episodes))
    print(f"Wrote {args.out}.")


if __name__ == "__main__":
    run_main(main)
