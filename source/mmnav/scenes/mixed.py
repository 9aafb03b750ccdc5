"""Mixed: static clutter, then rows of narrow gaps, then movers, one behind the other on the way to the goal."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .batch import SceneBatch
from .builder import SceneBuilder
from .clutter import add_clutter, add_movers
from .draws import Draws
from .squeeze import SqueezeCfg, add_rows


@dataclass
class MixedCfg:
    """All three capabilities in one arena, for evaluation."""

    squeeze: SqueezeCfg = field(default_factory=lambda: SqueezeCfg(rows=(3, 3), row_span=(3.6, 6.0)))
    """The middle part; its bounds are the arena's."""
    clutter: tuple[int, int] = (5, 8)
    """Fewest and most obstacles in front of the gaps, and again behind them, at difficulty 1."""
    movers: tuple[int, int] = (4, 6)
    """Fewest and most movers behind the gaps at difficulty 1."""
    sticks: tuple[int, int] = (1, 2)
    """Fewest and most thin moving sticks behind the gaps at difficulty 1."""


def generate(cfg: MixedCfg, seeds: np.ndarray, difficulty: np.ndarray | float = 1.0) -> SceneBatch:
    """Makes one layout for every seed.

    Args:
        cfg: What the layouts have in common.
        seeds: Integer seeds, shape [E]; a layout depends on its own seed and difficulty alone.
        difficulty: Difficulties in [0, 1], shape [E] or one for all.

    Returns:
        The E layouts, on the CPU.
    """
    x_min, y_min, x_max, y_max = bounds = cfg.squeeze.bounds
    builder = SceneBuilder(seeds, difficulty, bounds)
    draws = Draws(builder.seeds, "mixed")
    level = builder.difficulty[:, None]
    start = np.stack([draws.uniform(-0.4, 0.0), draws.uniform(-3.0, 3.0), draws.uniform(-0.6, 0.6)], -1)
    goal_y = np.clip(start[:, 1] + draws.uniform(-2.0, 2.0), y_min + 0.8, y_max - 0.8)
    goal = np.stack([np.full_like(goal_y, x_max - 0.8), goal_y], -1)

    builder.add_walls()
    first, last = cfg.squeeze.row_span
    rows = np.arange(cfg.squeeze.rows[1])
    x = first + (last - first) * rows / (len(rows) - 1) + draws.uniform(-0.04, 0.04, len(rows))
    gaps = add_rows(builder, draws, cfg.squeeze, x, np.ones_like(x, dtype=bool))
    # the witness goes straight at each gap: one point in front of it and one behind
    aside = np.array([0.55, 0.0])
    way = np.stack([gaps - aside, gaps + aside], 2).reshape(len(x), -1, 2)
    way = np.concatenate([start[:, None, :2], way, goal[:, None]], 1)

    low, most = cfg.clutter
    for left, right in ((x_min + 0.3, first - 0.5), (last + 0.5, x_max - 0.3)):
        active = np.arange(most) < np.round(draws.integers(low, most + 1, 1) * (0.2 + 0.8 * level))
        add_clutter(builder, draws, most, active, (left, y_min + 0.3, right, y_max - 0.3), way)
    area = (last + 0.2, y_min, x_max, y_max)
    aim = (way[:, -2], goal)
    for (low, most), sticks in ((cfg.movers, False), (cfg.sticks, True)):
        active = np.arange(most) < np.round(draws.integers(low, most + 1, 1) * (0.3 + 0.7 * level))
        add_movers(builder, draws, most, active, area, way, 0.4 + 0.6 * level, aim, sticks)
    return builder.build(start, goal)
