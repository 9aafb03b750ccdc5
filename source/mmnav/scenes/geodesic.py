"""How far it is to the goal round the static primitives: for SPL's denominator and for shaped rewards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp

from ..robot import ROBOT
from .batch import SceneBatch
from .occupancy import Footprint, Grid, occupancy

_EXACT = wp.constant(0.3)  # radius about the goal within which no obstacle can come between [m]
_MAX_SWEEPS = wp.constant(400)


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


@wp.kernel(enable_backward=False)
def _march(
    blocked: wp.array3d(dtype=wp.uint8),
    origin: wp.array(dtype=wp.vec2),
    goal: wp.array(dtype=wp.vec2),
    cell: float,
    awake: wp.array3d(dtype=wp.uint8),
    distance_out: wp.array3d(dtype=float),
):
    """Fast sweeping of the eikonal equation |grad d| = 1; a cell is looked at only after a neighbour became nearer."""
    env = wp.tid()
    rows = blocked.shape[1]
    columns = blocked.shape[2]
    # As far as the nearest obstacle, the straight line to the goal is the shortest way.
    clear = float(wp.inf)
    for row in range(rows):
        for column in range(columns):
            if blocked[env, row, column] != wp.uint8(0):
                at = origin[env] + wp.vec2(float(column) * cell, float(row) * cell)
                clear = wp.min(clear, wp.length(at - goal[env]))
    for row in range(rows):
        for column in range(columns):
            at = origin[env] + wp.vec2(float(column) * cell, float(row) * cell)
            distance = wp.length(at - goal[env])
            distance_out[env, row, column] = wp.inf
            if distance < wp.max(clear, _EXACT) and blocked[env, row, column] == wp.uint8(0):
                distance_out[env, row, column] = distance
                awake[env, wp.max(row - 1, 0), column] = wp.uint8(1)
                awake[env, wp.min(row + 1, rows - 1), column] = wp.uint8(1)
                awake[env, row, wp.max(column - 1, 0)] = wp.uint8(1)
                awake[env, row, wp.min(column + 1, columns - 1)] = wp.uint8(1)
    for sweep in range(_MAX_SWEEPS):
        changed = int(0)
        for i in range(rows):
            row = wp.where(sweep % 4 < 2, i, rows - 1 - i)
            for j in range(columns):
                column = wp.where(sweep % 2 == 0, j, columns - 1 - j)
                if awake[env, row, column] == wp.uint8(0):
                    continue
                awake[env, row, column] = wp.uint8(0)
                if blocked[env, row, column] != wp.uint8(0):
                    continue
                x = wp.inf
                y = wp.inf
                if column > 0:
                    x = distance_out[env, row, column - 1]
                if column < columns - 1:
                    x = wp.min(x, distance_out[env, row, column + 1])
                if row > 0:
                    y = distance_out[env, row - 1, column]
                if row < rows - 1:
                    y = wp.min(y, distance_out[env, row + 1, column])
                candidate = wp.min(x, y) + cell
                if wp.abs(x - y) < cell:
                    candidate = 0.5 * (x + y + wp.sqrt(2.0 * cell * cell - (x - y) * (x - y)))
                if candidate < distance_out[env, row, column] - 1.0e-5:
                    distance_out[env, row, column] = candidate
                    changed = 1
                    if column > 0:
                        awake[env, row, column - 1] = wp.uint8(1)
                    if column < columns - 1:
                        awake[env, row, column + 1] = wp.uint8(1)
                    if row > 0:
                        awake[env, row - 1, column] = wp.uint8(1)
                    if row < rows - 1:
                        awake[env, row + 1, column] = wp.uint8(1)
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
    blocked = occupancy(scene, grid, Footprint.disc(radius))
    value = torch.empty(blocked.shape, device=scene.device)
    wp.launch(
        _march,
        dim=scene.env_count,
        inputs=[
            wp.from_torch(blocked),
            wp.from_torch(grid.origin, dtype=wp.vec2),
            wp.from_torch(scene.goal, dtype=wp.vec2),
            cell,
            wp.zeros(blocked.shape, dtype=wp.uint8, device=str(scene.device)),
        ],
        outputs=[wp.from_torch(value)],
        device=str(scene.device),
    )
    return DistanceField(grid, value)


def path_length(scene: SceneBatch, radius: float = ROBOT.half_extents[1]) -> torch.Tensor:
    """Returns the length of the shortest way from start to goal past the static primitives [m], shape [E]."""
    field = geodesic(scene, radius)
    return field.value[torch.arange(scene.env_count, device=scene.device), *field.grid.start.unbind(-1)]
