"""Avoid: an open arena where boxes, cones, spheres and thin sticks move, several of them across the robot's way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .batch import SceneBatch
from .builder import SceneBuilder
from .clutter import add_movers
from .draws import Draws
from .reach import detour, opposite_ends


@dataclass
class AvoidCfg:
    """A square arena full of movers. Speeds carry over from MM-Nav's figure (0.5 to 0.8 m/s; a thin stick 1.5 m/s)."""

    half_width: float = 6.0
    """Half width of the square arena [m]."""
    goal_distance: float = 10.0
    """Distance from start to goal [m]."""
    movers: tuple[int, int] = (10, 16)
    """Fewest and most movers at difficulty 1; at difficulty 0 three tenths of them."""
    sticks: tuple[int, int] = (2, 4)
    """Fewest and most thin sticks at difficulty 1; at difficulty 0 none."""
    easy_speed: float = 0.4
    """Factor on the speeds at difficulty 0; it grows to 1 at difficulty 1."""
    detour: float = 2.0
    """Largest sideways offset of the witness's way [m]."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Arena as (x_min, y_min, x_max, y_max) [m]."""
        return (-self.half_width, -self.half_width, self.half_width, self.half_width)


def generate(cfg: AvoidCfg, seeds: np.ndarray, difficulty: np.ndarray | float = 1.0) -> SceneBatch:
    """Makes one layout for every seed.

    Args:
        cfg: What the layouts have in common.
        seeds: Integer seeds, shape [E]; a layout depends on its own seed and difficulty alone.
        difficulty: Difficulties in [0, 1], shape [E] or one for all.

    Returns:
        The E layouts, on the CPU.
    """
    builder = SceneBuilder(seeds, difficulty, cfg.bounds)
    draws = Draws(builder.seeds, "avoid")
    start, goal = opposite_ends(draws, cfg.goal_distance)
    way = detour(draws, start, goal, cfg.detour)
    level = builder.difficulty[:, None]
    scale = cfg.easy_speed + (1.0 - cfg.easy_speed) * level
    builder.add_walls()
    aim = (start[:, :2], goal)
    for (low, most), share, sticks in ((cfg.movers, 0.3 + 0.7 * level, False), (cfg.sticks, level, True)):
        active = np.arange(most) < np.round(draws.integers(low, most + 1, 1) * share)
        add_movers(builder, draws, most, active, cfg.bounds, way, scale, aim, sticks)
    return builder.build(start, goal)
