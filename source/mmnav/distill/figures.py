"""Figures of a distillation: success and proportions over the stages, as in MM-Nav's figures, and episodes on maps."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, StrMethodFormatter

from ..evaluate.video import Recording
from ..scenes.picture import draw_robot, draw_scene
from .balance import FLOOR

MOST_MAPS = 12
"""Most recordings that :func:`draw_trajectories` draws."""

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
_OUTCOMES = {"success": "tab:green", "collision": "tab:red", "time_out": "tab:purple"}


def colors_of(results: Mapping) -> dict[str, str]:
    """Colours of the families by their names."""
    return {family: _COLORS[i % len(_COLORS)] for i, family in enumerate(results["families"])}


def draw_success(results: Mapping, best: int) -> Figure:
    """Draws success over the stages with Wilson intervals, and each expert's as a dashed line (MM-Nav's performance).

    Args:
        results: What a run keeps.
        best: Index of the stage to mark.
    """
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    colors, stages, handles = colors_of(results), results["stages"], []
    axes.axvspan(best - 0.3, best + 0.3, color="0.93", zorder=0)
    axes.text(best, 104, "best", ha="center", va="bottom", fontsize=8, color="0.35")
    for i, (name, color) in enumerate(colors.items()):
        rows = [stage["rows"][name] for stage in stages]
        rate = 100 * np.array([[row["SR"], row["SR_low"], row["SR_high"]] for row in rows])
        # side by side, so that intervals do not hide each other
        place = np.arange(len(stages)) + 0.06 * (i - (len(colors) - 1) / 2)
        error = [rate[:, 0] - rate[:, 1], rate[:, 2] - rate[:, 0]]
        axes.errorbar(place, rate[:, 0], error, color=color, marker="o", ms=5, lw=2.0, elinewidth=1.1, capsize=3)
        handles.append(Line2D([], [], color=color, marker="o", ms=5, lw=2.0, label=name))
        expert = 100 * results["experts"][name]["SR"]
        axes.axhline(expert, color=color, ls="--", lw=1.2, alpha=0.8, zorder=1)
        handles.append(Line2D([], [], color=color, ls="--", lw=1.2, label=f"{name}'s expert, {expert:.1f} %"))
    axes.set(ylabel="success [%]", ylim=(-3, 103))
    _stage_axis(axes, stages)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def draw_proportion(results: Mapping) -> Figure:
    """Draws the gaps that every stage left and the shares of the data it learned from (MM-Nav's proportion)."""
    stages, families = results["stages"], results["families"]
    figure = Figure(figsize=(10.4, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    colors = colors_of(results)
    _draw_gaps(left, {name: [stage["gaps"][name] for stage in stages] for name in families}, colors)
    _stage_axis(left, stages)
    bottom = np.zeros(len(stages))
    for name in families:
        share = 100 * np.array([stage["shares"][name] for stage in stages])
        right.bar(range(len(stages)), share, 0.7, bottom, color=colors[name], edgecolor="white", label=name)
        for x in np.flatnonzero(share >= 6.0):  # lower bars have no room for their number; the table has it
            middle = bottom[x] + share[x] / 2
            right.text(x, middle, f"{share[x]:.1f}", ha="center", va="center", color="white", fontsize=8)
        bottom += share
    right.set(title="the data's shares", ylabel="share [%]", ylim=(0, 100))
    _stage_axis(right, stages)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(families), fontsize=9, frameon=False)
    return figure


def draw_trajectories(recordings: list[Recording]) -> Figure:
    """Draws episodes on their maps: the trail coloured by time, robot and movers where they were at the end.

    Args:
        recordings: The episodes; of more than :data:`MOST_MAPS` the first.
    """
    shown = recordings[:MOST_MAPS]
    columns = min(len(shown), 4 if len(shown) > 6 else 3)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(3.9 * columns, 5.0), 4.0 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    longest = max(r.seconds for r in shown)
    for axes, recording in zip(panels.flat, shown, strict=False):
        trail = _draw_episode(axes, recording, longest)
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    axes = panels.flat[: len(shown)]
    figure.colorbar(trail, ax=axes, label="time [s]", shrink=0.6, aspect=30, pad=0.02, panchor=False)
    return figure


def _draw_episode(axes: Axes, recording: Recording, longest: float) -> LineCollection:
    """Draws one episode; returns its trail, whose colours reach to the longest episode's end [s]."""
    patches = draw_scene(axes, recording.scene, labels=False)
    for k, patch in patches.items():
        patch.set_xy(patch.get_xy() + (recording.geom_position[-1, k] - recording.geom_position[0, k])[:2])
    way = recording.pose[:, :2]
    axes.plot(way[:, 0], way[:, 1], color="0.15", lw=3.2, solid_capstyle="round", zorder=4)
    trail = LineCollection(np.stack([way[:-1], way[1:]], 1), cmap="cool", lw=2.0, zorder=5)
    trail.set_array(recording.begin + np.arange(len(way) - 1) * recording.step)
    trail.set_clim(0.0, longest)
    axes.add_collection(trail, autolim=False)
    axes.plot(*way[0], marker="o", ms=6, color="white", mec="0.15", zorder=5)
    color = _OUTCOMES[recording.outcome]
    draw_robot(axes, recording.pose[-1], color=color)
    told = f"{recording.outcome.replace('_', '-')} after {recording.seconds:.1f} s"
    title = "\n".join([*textwrap.wrap(recording.title, 58), told])
    axes.set_title(title, fontsize=8, color=color, parse_math=False)
    axes.set(xlabel="", ylabel="", anchor="N")
    axes.tick_params(labelsize=8)
    return trail


def _draw_gaps(axes: Axes, gaps: dict[str, list[float]], colors: dict[str, str]) -> None:
    """Draws gaps on a logarithmic axis; what is at the floor or below it is hollow and on it."""
    for i, (name, left) in enumerate(gaps.items()):
        place = [x + 0.06 * (i - (len(gaps) - 1) / 2) for x in range(len(left))]
        height = [max(gap, FLOOR) for gap in left]
        axes.plot(place, height, color=colors[name], lw=1.6, zorder=2)
        for x, y in zip(place, height, strict=True):
            face = "white" if y == FLOOR else colors[name]
            axes.plot(x, y, marker="o", ms=6, color=colors[name], mfc=face, zorder=3)
    axes.axhline(FLOOR, color="0.35", ls="--", lw=1.0, zorder=1)
    top = 1.6 * max(max(gap, FLOOR) for left in gaps.values() for gap in left)
    axes.set(title="the gaps behind the experts", ylabel="gap", yscale="log", ylim=(0.07, max(top, 1.2)))
    axes.set_yticks([y for y in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if y < max(top, 1.2)])
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", alpha=0.3)


def _stage_axis(axes: Axes, stages: list[dict]) -> None:
    """Writes the stages' names under an axis."""
    names = ["\n".join(textwrap.wrap(stage["name"], 12)) for stage in stages]
    axes.set_xticks(range(len(stages)), names, rotation=0 if len(stages) <= 6 else 45, fontsize=9, parse_math=False)
    aside = max(3 - len(stages), 0) / 2  # so that one stage alone does not fill the width
    axes.set_xlim(-0.6 - aside, len(stages) - 0.4 + aside)
