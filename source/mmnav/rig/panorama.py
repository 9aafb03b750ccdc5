"""Panorama: what the privileged experts see all around, and what a student learns to see from colour."""

from __future__ import annotations

import numpy as np
import torch

from ..camera import RigCfg, rays
from ..depth import encode_depth
from ..robot import ROBOT
from ..scenes.batch import SceneBatch
from .renderer import Rig


class Panorama:
    """Depth all around E robots and the velocity of what they see, column by column, clockwise.

    The rig's views side by side make one turn (see :func:`mmnav.rig.depth_rig`); the columns of C views of W columns
    are those of the first view from left to right, then those of the next.
    """

    def __init__(self, cfg: RigCfg, scene: SceneBatch, *, has_movers: bool = True):
        """Builds the rig.

        Args:
            cfg: The views.
            scene: E worlds of K primitives; must live as long as the panorama.
            has_movers: Whether anything moves; without, all surface velocities are 0.
        """
        self.rig = Rig(cfg, scene, geom_ids=has_movers)
        turned = [view @ camera.rotation.T for view, camera in zip(rays(cfg), cfg.cameras, strict=True)]
        hull = torch.tensor(ROBOT.hull_distance(np.stack(turned)), dtype=torch.float32, device=scene.device)
        self._hull = _by_column(hull[None])[0]

    def look(
        self,
        robot_position: torch.Tensor,
        robot_orientation: torch.Tensor,
        geom_position: torch.Tensor,
        geom_velocity: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Looks around.

        Args:
            robot_position: Centres of the robots' bases in their worlds [m], shape [E, 3].
            robot_orientation: World-from-base unit quaternions (x, y, z, w), shape [E, 4].
            geom_position: Centres of the primitives now [m], shape [E, K, 3].
            geom_velocity: Their velocities [m/s], shape [E, K, 3].

        Returns:
            Free depth, which is depth beyond the robot's own sides from top to bottom [m], 0 is contact, shape
            [E, C W, H]; and the velocity in the base's frame of the surface that each column's nearest pixel hits,
            0 for what stands still [m/s], shape [E, C W, 2].
        """
        views = self.rig.render_depth(robot_position, robot_orientation, geom_position)
        free = _by_column(views).sub_(self._hull).clamp_(min=0.0)
        if self.rig.geom is None:
            return free, torch.zeros(*free.shape[:2], 2, device=free.device)
        nearest = free.argmin(dim=2, keepdim=True)
        geom = _by_column(self.rig.geom).gather(2, nearest).long()
        seen = geom_velocity[..., :2].gather(1, geom.clamp(min=0).expand(-1, -1, 2))
        return free, to_base(seen * (geom >= 0), robot_orientation)


def encode_panorama(free_depth: torch.Tensor, surface_velocity: torch.Tensor) -> torch.Tensor:
    """A panorama as policies take it: H encoded depths from top to bottom and 2 velocities [m/s] of every column.

    Args:
        free_depth: Free depth [m], shape [E, L, H].
        surface_velocity: Surface velocity [m/s], shape [E, L, 2].

    Returns:
        Shape [E, L, H + 2].
    """
    return torch.cat([encode_depth(free_depth), surface_velocity], dim=2)


def to_base(vector: torch.Tensor, orientation: torch.Tensor) -> torch.Tensor:
    """Turns horizontal vectors [E, ..., 2] into the frames of bases with quaternions (x, y, z, w), shape [E, 4]."""
    x, y, z, w = orientation.unbind(-1)
    cos, sin = 1.0 - 2.0 * (y * y + z * z), 2.0 * (w * z + x * y)
    extra = (-1,) + (1,) * (vector.dim() - 2)
    cos, sin, (vx, vy) = cos.view(extra), sin.view(extra), vector.unbind(-1)
    return torch.stack([cos * vx + sin * vy, cos * vy - sin * vx], -1)


def _by_column(views: torch.Tensor) -> torch.Tensor:
    """Joins views [E, C, H, W] to columns [E, C W, H], always a copy."""
    return views.permute(0, 1, 3, 2).clone(memory_format=torch.contiguous_format).flatten(1, 2)
