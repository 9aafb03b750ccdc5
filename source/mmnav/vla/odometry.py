"""Odometry: where a base is and was, by nothing but what it was told.

The base follows velocity commands through its nominal lag and acceleration limits (see
:class:`mmnav.robot.RobotCfg`); what it really does differs, by its own lag and by whatever makes it slip. A robot with
better odometry may put its own poses in their place.
"""

from __future__ import annotations

import torch

from ..robot import ROBOT


def advance(
    pose: torch.Tensor, velocity: torch.Tensor, command: torch.Tensor, step: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where bases are after a control step.

    Args:
        pose: Place [m] and heading [rad] before it, shape [B, 3].
        velocity: Forward, leftward [m/s] and yaw velocity [rad/s] before it, shape [B, 3].
        command: What they are told during it, in the same units, shape [B, 3].
        step: Duration [s]; of each if it is of shape [B, 1].

    Returns:
        Pose and velocity after it.
    """
    step = torch.as_tensor(step, dtype=pose.dtype, device=pose.device)
    limit = pose.new_tensor(ROBOT.acceleration) * step
    change = (command - velocity) * (1.0 - torch.exp(-step / ROBOT.time_constant))
    after = velocity + torch.minimum(torch.maximum(change, -limit), limit)
    way = (velocity + after) * (0.5 * step)  # in the frame of the step's middle
    return pose + torch.cat([turned(way[:, :2], pose[:, 2] + 0.5 * way[:, 2]), way[:, 2:]], -1), after


def reckon(commands: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
    """Where bases were before each of their commands, seen from where they stood still before the first one.

    Args:
        commands: Velocity commands [m/s, m/s, rad/s], shape [B, T, 3].
        step: As for :func:`advance`.

    Returns:
        Place [m] and heading [rad], shape [B, T, 3].
    """
    pose = velocity = torch.zeros_like(commands[:, 0])
    poses = []
    for command in commands.unbind(1):
        poses.append(pose)
        pose, velocity = advance(pose, velocity, command, step)
    return torch.stack(poses, 1)


def seen_from(here: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """Poses [..., 3] (place [m] and heading [rad]) in the frames of other poses, ``here``, of equal shape."""
    gone = pose - here
    return torch.cat([turned(gone[..., :2], -here[..., 2]), gone[..., 2:]], -1)


def turned(vector: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Vectors [..., 2], turned by angles [rad]."""
    cos, sin, (x, y) = angle.cos(), angle.sin(), vector.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
