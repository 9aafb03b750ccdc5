"""Reach: a walled arena with static clutter of all kinds, thin sticks and bars among it, and a goal 10 m away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .batch import SceneBatch
from .builder import SceneBuilder
from .clutter import add_clutter
from .draws import Draws


@dataclass
class ReachCfg:
    """A square arena whose goal lies opposite the start, in any direction."""

    half_width: float = 6.0
    """Half width of the square arena [m]."""
    goal_distance: float = 10.0
    """Distance from start to goal [m]."""
    obstacles: tuple[int, int] = (24, 40)
    """Fewest and most obstacles at difficulty 1; at difficulty 0 a fifth of them."""
    detour: float = 3.0
    """Largest sideways offset of the way that is kept free [m]."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Arena as (x_min, y_min, x_max, y_max) [m]."""
        return (-self.half_width, -self.half_width, self.half_width, self.half_width)


def opposite_ends(draws: Draws, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Start poses [E, 3] and goals [E, 2] on opposite sides of the origin, the start facing the goal within 0.8 rad."""
    bearing = draws.uniform(-np.pi, np.pi)
    turn = draws.uniform(-0.3, 0.3)
    radius = distance / 2
    start = np.stack([-radius * np.cos(bearing), -radius * np.sin(bearing), bearing + draws.uniform(-0.8, 0.8)], -1)
    start[:, 2] = (start[:, 2] + np.pi) % (2 * np.pi) - np.pi
    goal = radius * np.stack([np.cos(bearing + turn), np.sin(bearing + turn)], -1)
    return start, goal


def detour(draws: Draws, start: np.ndarray, goal: np.ndarray, offset: float) -> np.ndarray:
    """Polylines [E, 3, 2] from start to goal by way of a point up to ``offset`` [m] beside the middle."""
    middle = (start[:, :2] + goal) / 2
    along = (goal - start[:, :2]) / np.linalg.norm(goal - start[:, :2], axis=-1, keepdims=True)
    aside = np.stack([-along[:, 1], along[:, 0]], -1)
    via = middle + aside * draws.uniform(-offset, offset, 1) + along * draws.uniform(-2.0, 2.0, 1)
    return np.stack([start[:, :2], via, goal], 1)


def generate(cfg: ReachCfg, seeds: np.ndarray, difficulty: np.ndarray | float = 1.0) -> SceneBatch:
    """Makes one layout for every seed.

    Args:
        cfg: What the layouts have in common.
        seeds: Integer seeds, shape [E]; a layout depends on its own seed and difficulty alone.
        difficulty: Difficulties in [0, 1], shape [E] or one for all.

    Returns:
        The E layouts, on the CPU.
    """
    builder = SceneBuilder(seeds, difficulty, cfg.bounds)
    draws = Draws(builder.seeds, "reach")
    start, goal = opposite_ends(draws, cfg.goal_distance)
    low, most = cfg.obstacles
    share = 0.2 + 0.8 * builder.difficulty[:, None]
    active = np.arange(most) < np.round(draws.integers(low, most + 1, 1) * share)
    builder.add_walls()
    way = detour(draws, start, goal, cfg.detour)
    inset = cfg.half_width - 0.3
    add_clutter(builder, draws, most, active, (-inset, -inset, inset, inset), way)
    return builder.build(start, goal)
