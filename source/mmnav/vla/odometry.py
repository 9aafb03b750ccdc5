"""Odometry: where a base was, by nothing but what it was told since."""

from __future__ import annotations

import math

import torch

from ..robot import ROBOT


def dead_reckon(commands: torch.Tensor, step: float) -> torch.Tensor:
    """Where a base was before each of its last commands, seen from where it is now.

    The base stood still before them and followed them through its nominal lag and acceleration limits (see
    :class:`mmnav.robot.RobotCfg`); what it really did differs, by its own lag and by whatever made it slip.

    Args:
        commands: Velocity commands of the last R control steps, the oldest first [m/s, m/s, rad/s], shape [B, R, 3].
        step: Duration of a control step [s].

    Returns:
        Forward and leftward place [m] and heading [rad] in the present frame, the oldest first, shape [B, R, 3].
    """
    follow = 1.0 - math.exp(-step / ROBOT.time_constant)
    limit = torch.tensor(ROBOT.acceleration, dtype=commands.dtype, device=commands.device) * step
    before, means = torch.zeros_like(commands[:, 0]), []
    for command in commands.unbind(1):
        after = before + ((command - before) * follow).clamp(-limit, limit)
        means.append((before + after) * (0.5 * step))
        before = after
    way = torch.stack(means, 1)  # of each step, in the frame of its middle
    heading = -_sum_from(way[..., 2])
    middle = heading + 0.5 * way[..., 2]
    cos, sin, (ahead, left) = middle.cos(), middle.sin(), way[..., :2].unbind(-1)
    place = -_sum_from(torch.stack([cos * ahead - sin * left, sin * ahead + cos * left], -1))
    return torch.cat([place, heading[..., None]], -1)


def _sum_from(steps: torch.Tensor) -> torch.Tensor:
    """Sums over each step and all later ones, along dimension 1."""
    return steps.flip(1).cumsum(1).flip(1)
