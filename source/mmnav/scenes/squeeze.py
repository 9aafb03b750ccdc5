"""Squeeze: rows of wall pieces and pillars whose gaps are hardly wider than the robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .batch import Kind, SceneBatch
from .builder import SceneBuilder
from .draws import Draws


@dataclass
class SqueezeCfg:
    """A walled field, crossed along x. Gap widths carry over from MM-Nav's figure (0.30 to 0.70 m)."""

    bounds: tuple[float, float, float, float] = (-1.0, -4.0, 11.0, 4.0)
    """Arena as (x_min, y_min, x_max, y_max) [m]."""
    rows: tuple[int, int] = (7, 9)
    """Fewest and most rows; their distance follows."""
    row_span: tuple[float, float] = (0.9, 9.5)
    """Places of the first and the last row [m]; nine rows leave the robot room to shift sideways between them."""
    gaps: tuple[int, int] = (3, 4)
    """Fewest and most gaps in a row."""
    gap_width: tuple[float, float] = (0.30, 0.70)
    """Widths of the gaps at difficulty 1 [m]; those under 0.31 m let nobody pass."""
    sure_gap_width: tuple[float, float] = (0.45, 0.70)
    """Width at difficulty 1 of the one gap in every row that the robot surely fits through [m]."""
    easy_gap_width: tuple[float, float] = (0.8, 1.1)
    """Widths of all gaps at difficulty 0 [m]; between the two difficulties they blend."""


def add_rows(builder: SceneBuilder, draws: Draws, cfg: SqueezeCfg, x: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Adds rows of wall pieces with gaps, each with a pillar at the edge of one gap.

    Args:
        builder: Where they are added.
        draws: Their random numbers.
        cfg: Gap widths and counts; the rows reach across its bounds.
        x: Places of the rows [m], shape [E, R].
        present: Which of the rows exist, shape [E, R].

    Returns:
        The sure gaps' middles [m], shape [E, R, 2].
    """
    (env_count, rows), most = x.shape, cfg.gaps[1]
    y_min, y_max = cfg.bounds[1], cfg.bounds[3]
    gap_count = draws.integers(cfg.gaps[0], most + 1, rows, 1)
    hard = draws.uniform(*cfg.gap_width, rows, most)
    hard[..., 0] = draws.uniform(*cfg.sure_gap_width, rows)
    easy = draws.uniform(*cfg.easy_gap_width, rows, most)
    blend = builder.difficulty[:, None, None]
    width = blend * hard + (1.0 - blend) * easy
    # shuffle the gaps that exist, the sure one (index 0) among them
    order = (draws.uniform(0.0, 1.0, rows, most) + 9.0 * (np.arange(most) >= gap_count)).argsort(-1)
    width = np.take_along_axis(width * (np.arange(most) < gap_count), order, -1)
    # between the gaps, wall pieces of random lengths of at least 0.25 m share what is left of the row
    has_piece = np.arange(most + 1) <= gap_count
    share = draws.uniform(0.2, 1.2, rows, most + 1) * has_piece
    left_over = (y_max - y_min) - width.sum(-1, keepdims=True) - 0.25 * (gap_count + 1)
    piece = 0.25 * has_piece + share / share.sum(-1, keepdims=True) * left_over
    low = y_min + np.cumsum(piece, -1) - piece
    low[..., 1:] += np.cumsum(width, -1)

    half_depth = draws.uniform(0.04, 0.07, rows, 1)
    half_height = draws.uniform(0.35, 0.8, rows, 1)
    x3, depth3, height3, _ = np.broadcast_arrays(x[..., None], half_depth, half_height, low)
    center = np.stack([x3, low + piece / 2, height3], -1).reshape(env_count, -1, 3)
    half = np.stack([depth3, piece / 2, height3], -1).reshape(env_count, -1, 3)
    builder.add(Kind.BOX, center, half, active=(present[..., None] & has_piece).reshape(env_count, -1))

    edge = np.take_along_axis(low, draws.integers(1, cfg.gaps[0], rows, 1), -1)
    pillar = np.concatenate([x[..., None], edge + 0.1, half_height * 1.1], -1)
    half = np.concatenate([np.full((env_count, rows, 2), 0.1), half_height * 1.1], -1)
    kind = np.where(draws.chance(0.5, rows), Kind.BOX, Kind.CYLINDER)
    builder.add(kind, pillar, half, active=present)

    sure = (order == 0).argmax(-1)[..., None]
    return np.concatenate([x[..., None], np.take_along_axis(low[..., 1:] - width / 2, sure, -1)], -1)


def generate(cfg: SqueezeCfg, seeds: np.ndarray, difficulty: np.ndarray | float = 1.0) -> SceneBatch:
    """Makes one layout for every seed.

    Args:
        cfg: What the layouts have in common.
        seeds: Integer seeds, shape [E]; a layout depends on its own seed and difficulty alone.
        difficulty: Difficulties in [0, 1], shape [E] or one for all.

    Returns:
        The E layouts, on the CPU.
    """
    builder = SceneBuilder(seeds, difficulty, cfg.bounds)
    draws = Draws(builder.seeds, "squeeze")
    row_count = draws.integers(cfg.rows[0], cfg.rows[1] + 1, 1)
    rows = np.arange(cfg.rows[1])
    first, last = cfg.row_span
    x = first + (last - first) * rows / (row_count - 1) + draws.uniform(-0.01, 0.01, cfg.rows[1])
    builder.add_walls()
    add_rows(builder, draws, cfg, x, rows < row_count)
    x_min, y_min, x_max, y_max = cfg.bounds
    start = np.stack(
        [draws.uniform(x_min + 0.6, x_min + 1.0), draws.uniform(y_min + 1.0, y_max - 1.0), draws.uniform(-0.6, 0.6)], -1
    )
    goal_y = np.clip(start[:, 1] + draws.uniform(-2.0, 2.0), y_min + 0.8, y_max - 0.8)
    return builder.build(start, np.stack([np.full_like(goal_y, x_max - 0.8), goal_y], -1))
