"""Ring: what cameras at a body's sides read, as it would be seen all round from the body's middle."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from ..camera import PANORAMA_RANGE, PANORAMA_TOP
from ..depth import encode_depth
from ..robot import ROBOT, VIEWS
from .configuration_mmnav import MMNavConfig
from .odometry import turned

CELL = (4, 8)
"""Rows and columns of parts of a cell of features, each of whose nearest depths is read."""

_NOWHERE = 2.0 * PANORAMA_RANGE
_FARTHEST = math.log(100.0 * PANORAMA_RANGE)
"""Logarithm of a depth [m] beyond which all are the same."""
_ABOVE_GROUND = 0.12
"""How much nearer than the ground, in logarithms, a depth must be to be an obstacle's."""


class Ring(nn.Module):
    """Puts depths of parts of views where they belong in a ring of columns round the base.

    Every depth is a point in front of its camera. The points of an earlier frame are moved by what the base has moved
    since: what stands still stays where it is, and what moves by itself stands out. A column holds its nearest point.
    Columns go clockwise; the first quarter of them is what is in front.
    """

    def __init__(self, config: MMNavConfig):
        """Works out where the student's cameras are and where every part of their images looks."""
        super().__init__()
        rig = config.rig
        rows, columns = (a * b for a, b in zip(config.current_grid, CELL, strict=True))
        self.length = ring_length(config)
        across = (np.arange(columns) + 0.5) * (rig.width / columns)
        down = (np.arange(rows) + 0.5) * (rig.height / rows)
        look = lambda v: np.stack([c.lens.directions(*np.meshgrid(across, v)) @ c.rotation.T for c in rig.cameras])  # noqa: E731
        height = ROBOT.center_height + np.array([camera.position[2] for camera in rig.cameras])[:, None, None]
        lower = look(down + 0.5 * rig.height / rows)[..., 2]  # rise of each part's lower edge
        ground = np.log(height / np.maximum(-lower, 1e-6)) - _ABOVE_GROUND
        azimuth = math.pi / 4 - (np.arange(self.length) + 0.5) * (math.tau / self.length)
        bearing = np.stack([np.cos(azimuth), np.sin(azimuth)])
        plane = np.stack([*bearing, np.zeros(self.length)], -1)
        keep = lambda name, value: self.register_buffer(name, torch.from_numpy(value).float())  # noqa: E731
        keep("place", np.array([camera.position[:2] for camera in rig.cameras])[:, None, None])  # [V, 1, 1, 2]
        keep("ray", look(down)[..., :2])  # [V, rows, columns, 2]
        keep("limit", np.where(lower < math.sin(PANORAMA_TOP), ground, -np.inf))
        level = np.abs(np.arange(rows) - 0.5 * (rows - 1))[:, None]
        keep("nothing", np.log(_NOWHERE) + 1e-3 * level)  # [rows, 1]: it is far away, on the horizon
        keep("bearing", bearing)  # [2, L]
        keep("hull", ROBOT.hull_distance(plane))  # [L]

    def fits(self, config: MMNavConfig) -> bool:
        """Whether it was worked out for the cameras of a configuration as :mod:`mmnav.camera` makes them now."""
        pairs = zip(self.buffers(), Ring(config).to(self.place.device).buffers(), strict=True)
        return all(torch.allclose(mine, theirs, atol=1e-4) for mine, theirs in pairs)

    def every_row(self, log_depth: torch.Tensor) -> torch.Tensor:
        """Codes of what each row of parts reads, the ground too: [B, V, rows, columns] to [B, rows, L]."""
        return self._code(self._put(self.place + _depth(log_depth) * self.ray))

    def obstacles(self, log_depth: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes of the nearest obstacles.

        Args:
            log_depth: Logarithms of depths [m] of T frames, shape [B, T, V, rows, columns].
            pose: Forward and leftward place [m] and heading [rad] of the base in those frames, in the present frame,
                shape [B, T, 3].

        Returns:
            Codes as :func:`mmnav.depth.encode_depth` makes them of the distance beyond the base's sides, shape
            [B, T, L]; and 1 where that frame's cameras looked, 0 elsewhere, shape [B, T, L].
        """
        stands = log_depth < self.limit
        depth, row = torch.where(stands, log_depth, self.nothing).min(-2, keepdim=True)
        ray = self.ray.expand(*log_depth.shape, 2).gather(-3, row[..., None].expand(*row.shape, 2))
        place = self.place + _depth(depth) * ray  # [B, T, V, 1, columns, 2]
        there, heading = pose[..., None, None, None, :2], pose[..., None, None, None, 2]
        place = there + turned(place, heading)
        ring = self._put(place)[..., 0, :]
        return self._code(ring), (ring < _NOWHERE).to(ring.dtype)

    def _put(self, place: torch.Tensor) -> torch.Tensor:
        """The least distance in every column of places, shape [..., V, R, C, 2] to [..., R, L].

        A place counts in both of the columns whose middles are next to it, so that no column between two is left out.
        """
        with torch.no_grad():
            turn = torch.atan2(place[..., 1], place[..., 0]) * (self.length / math.tau)
            first = (self.length * 1.125 - 0.5 - turn).int() % self.length
            second = torch.where(first == self.length - 1, 0, first + 1)
            column = torch.cat([first, second], -1).long().transpose(-3, -2).flatten(-2)
        distance = place.norm(dim=-1).clamp(max=PANORAMA_RANGE)
        value = torch.cat([distance, distance], -1).transpose(-3, -2).flatten(-2)
        ring = value.new_full((*value.shape[:-1], self.length), _NOWHERE)
        return ring.scatter_reduce(-1, column, value, "amin")

    def _code(self, ring: torch.Tensor) -> torch.Tensor:
        return encode_depth((ring.clamp(max=PANORAMA_RANGE) - self.hull).clamp(min=0.0))


def _depth(log_depth: torch.Tensor) -> torch.Tensor:
    """Depths [m] of their logarithms, shape [..., 1]; of what nobody has taught to measure they may be of any size."""
    return log_depth.clamp(max=_FARTHEST).exp()[..., None]


def ring_length(config: MMNavConfig) -> int:
    """Columns of a student's ring: about as fine as the middle of its views is read."""
    return len(VIEWS) * round(config.current_grid[1] * CELL[1] * 90.0 / config.field_of_view[1])


def mirror_ring(ring: torch.Tensor, dim: int) -> torch.Tensor:
    """A ring of columns, along a dimension, with left and right exchanged: its first quarter is what is in front."""
    return ring.flip(dim).roll(ring.shape[dim] // 4, dim)


def mirror_panorama(panorama: torch.Tensor) -> torch.Tensor:
    """Panoramas [..., L, C], whose last channel is a velocity to the left, with left and right exchanged."""
    other = mirror_ring(panorama, panorama.dim() - 2)
    return torch.cat([other[..., :-1], -other[..., -1:]], -1)


def mirror_views(views: torch.Tensor, view_dim: int, column_dim: int) -> torch.Tensor:
    """Views (F, R, B, L; or the one in front) with left and right exchanged."""
    order = [0, 3, 2, 1][: views.shape[view_dim]]
    return views.index_select(view_dim, torch.tensor(order, device=views.device)).flip(column_dim)
