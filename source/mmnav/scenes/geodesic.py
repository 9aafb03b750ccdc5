"""How far it is to the goal round the static primitives: for SPL's denominator and for shaped rewards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import warp as wp

from ..robot import ROBOT
from ..threads import Threads
from .batch import SceneBatch
from .occupancy import Footprint, Grid, occupancy

_EXACT = wp.constant(0.3)  # radius about the goal within which no obstacle can come between [m]
_MAX_SWEEPS = wp.constant(400)
_CHUNK = 4
"""Worlds that a CPU thread takes at a time."""


@dataclass(frozen=True)
class DistanceField:
    """Length of the shortest way to the goal, on a grid."""

    grid: Grid
    value: torch.Tensor
    """Distance to go [m], shape [E, H, W], float32; infinite where the goal cannot be reached."""

    def at(self, position: torch.Tensor) -> torch.Tensor:
        """Interpolates the field, between the reachable ones of the four cells around each point.

        Args:
            position: Points in world coordinates [m], shape [E, 2].

        Returns:
            Distance to go [m], shape [E]; infinite where no cell around the point is reachable.
        """
        rows, columns = self.grid.shape
        place = (position - self.grid.origin) / torch.tensor(self.grid.cell, device=position.device)
        low = torch.stack((place[:, 0].clamp(0, columns - 1.001), place[:, 1].clamp(0, rows - 1.001)), -1).floor()
        part = (place - low).clamp(0.0, 1.0)
        column, row = low.long().unbind(-1)
        env = torch.arange(len(position), device=position.device)
        total, weight_sum = torch.zeros_like(part[:, 0]), torch.zeros_like(part[:, 0])
        for i in (0, 1):
            for j in (0, 1):
                value = self.value[env, row + j, column + i]
                weight = (part[:, 0] if i else 1 - part[:, 0]) * (part[:, 1] if j else 1 - part[:, 1])
                weight = (weight + 1.0e-6) * value.isfinite()
                total += weight * value.nan_to_num(posinf=0.0)
                weight_sum += weight
        return torch.where(weight_sum > 0.0, total / weight_sum, torch.inf)


@wp.func
def _wake(awake: wp.array3d(dtype=wp.uint8), span: wp.array2d(dtype=wp.vec2i), env: int, row: int, column: int):
    """Asks for a look at a cell, if it is on the grid; ``span`` is the range of cells to look at in each row."""
    if row >= 0 and row < awake.shape[1] and column >= 0 and column < awake.shape[2]:
        awake[env, row, column] = wp.uint8(1)
        cells = span[env, row]
        span[env, row] = wp.vec2i(wp.min(cells[0], column), wp.max(cells[1], column))


@wp.func
def _near(distance: wp.array3d(dtype=float), env: int, row: int, column: int):
    """Distance to go from a cell, infinite off the grid."""
    if row < 0 or row >= distance.shape[1] or column < 0 or column >= distance.shape[2]:
        return wp.inf
    return distance[env, row, column]


@wp.kernel(enable_backward=False)
def _march(
    blocked: wp.array3d(dtype=wp.uint8),
    origin: wp.array(dtype=wp.vec2),
    goal: wp.array(dtype=wp.vec2),
    cell: float,
    awake: wp.array3d(dtype=wp.uint8),
    span: wp.array2d(dtype=wp.vec2i),
    distance_out: wp.array3d(dtype=float),
):
    """Fast sweeping of the eikonal equation |grad d| = 1; a cell is looked at only after a neighbour became nearer."""
    env = wp.tid()
    rows = blocked.shape[1]
    columns = blocked.shape[2]
    # As far as the nearest obstacle, the straight line to the goal is the shortest way.
    clear = float(wp.inf)
    for row in range(rows):
        span[env, row] = wp.vec2i(columns, -1)
        for column in range(columns):
            if blocked[env, row, column] != wp.uint8(0):
                at = origin[env] + wp.vec2(float(column) * cell, float(row) * cell)
                clear = wp.min(clear, wp.length_sq(at - goal[env]))
    clear = wp.max(wp.sqrt(clear), _EXACT)
    for row in range(rows):
        for column in range(columns):
            at = origin[env] + wp.vec2(float(column) * cell, float(row) * cell)
            distance = wp.length(at - goal[env])
            distance_out[env, row, column] = wp.inf
            if distance < clear and blocked[env, row, column] == wp.uint8(0):
                distance_out[env, row, column] = distance
                _wake(awake, span, env, row - 1, column)
                _wake(awake, span, env, row + 1, column)
                _wake(awake, span, env, row, column - 1)
                _wake(awake, span, env, row, column + 1)
    for sweep in range(_MAX_SWEEPS):
        changed = int(0)
        step = wp.where(sweep % 2 == 0, 1, -1)
        for i in range(rows):
            row = wp.where(sweep % 4 < 2, i, rows - 1 - i)
            cells = span[env, row]
            span[env, row] = wp.vec2i(columns, -1)
            column = wp.where(step > 0, cells[0], cells[1])
            last = wp.where(step > 0, cells[1], cells[0])
            while (last - column) * step >= 0:
                if awake[env, row, column] != wp.uint8(0):
                    awake[env, row, column] = wp.uint8(0)
                    x = wp.min(_near(distance_out, env, row, column - 1), _near(distance_out, env, row, column + 1))
                    y = wp.min(_near(distance_out, env, row - 1, column), _near(distance_out, env, row + 1, column))
                    candidate = wp.min(x, y) + cell
                    if wp.abs(x - y) < cell:
                        candidate = 0.5 * (x + y + wp.sqrt(2.0 * cell * cell - (x - y) * (x - y)))
                    is_nearer = candidate < distance_out[env, row, column] - 1.0e-5
                    if is_nearer and blocked[env, row, column] == wp.uint8(0):
                        distance_out[env, row, column] = candidate
                        changed = 1
                        _wake(awake, span, env, row - 1, column)
                        _wake(awake, span, env, row + 1, column)
                        _wake(awake, span, env, row, column - step)
                        ahead = column + step
                        if ahead >= 0 and ahead < columns:  # in this very sweep
                            awake[env, row, ahead] = wp.uint8(1)
                            last = wp.where((ahead - last) * step > 0, ahead, last)
                column += step
        if changed == 0:
            return


def geodesic(scene: SceneBatch, radius: float = ROBOT.half_extents[1], cell: float = 0.05) -> DistanceField:
    """Returns the length of the shortest way to the goal past the static primitives, from everywhere.

    Args:
        scene: E worlds.
        radius: Radius of the disc that goes there [m]. Half the robot's width makes it the shortest way that any body
            of that width could take, which SPL (Anderson et al. 2018, eq. 1) divides by.
        cell: Spacing of the grid [m].

    Returns:
        The field. First order in the spacing: at 0.05 m about 1 % too long.
    """
    grid = Grid.over(scene, (cell, cell))
    value = torch.empty((scene.env_count, *grid.shape), device=scene.device)
    chunk = _CHUNK if scene.device.type == "cpu" else scene.env_count
    jobs = [
        partial(_march_worlds, scene[part], grid[part], radius, value[part])
        for part in (slice(i, i + chunk) for i in range(0, scene.env_count, chunk))
    ]
    Threads.all().run(jobs)
    return DistanceField(grid, value)


def _march_worlds(scene: SceneBatch, grid: Grid, radius: float, value: torch.Tensor) -> None:
    """Fills the field of some worlds, shape [E, H, W]."""
    blocked = occupancy(scene, grid, Footprint.disc(radius))
    device = str(scene.device)
    wp.launch(
        _march,
        dim=scene.env_count,
        inputs=[
            wp.from_torch(blocked),
            wp.from_torch(grid.origin, dtype=wp.vec2),
            wp.from_torch(scene.goal, dtype=wp.vec2),
            grid.cell[0],
            wp.zeros(blocked.shape, dtype=wp.uint8, device=device),
            wp.empty(blocked.shape[:2], dtype=wp.vec2i, device=device),
        ],
        outputs=[wp.from_torch(value)],
        device=device,
    )


def path_length(scene: SceneBatch, radius: float = ROBOT.half_extents[1]) -> torch.Tensor:
    """Returns the length of the shortest way from start to goal past the static primitives [m], shape [E]."""
    field = geodesic(scene, radius)
    return field.value[torch.arange(scene.env_count, device=scene.device), *field.grid.start.unbind(-1)]
