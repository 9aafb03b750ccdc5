"""Dead reckoning: a base that follows commands in its nominal way is where its commands say."""

from __future__ import annotations

import math

import pytest
import torch

from mmnav.robot import ROBOT
from mmnav.vla.odometry import dead_reckon

pytestmark = pytest.mark.unit


def drive(commands: torch.Tensor, step: float, parts: int = 1) -> torch.Tensor:
    """Poses (x, y, yaw) before each command and after the last one, by forward integration; float64."""
    follow = 1.0 - math.exp(-step / parts / ROBOT.time_constant)
    limit = torch.tensor(ROBOT.acceleration).double() * step / parts
    pose, velocity, poses = torch.zeros(3).double(), torch.zeros(3).double(), []
    for command in commands.double():
        poses.append(pose.clone())
        for _ in range(parts):
            change = ((command - velocity) * follow).clamp(-limit, limit)
            mean = velocity + change / 2
            velocity = velocity + change
            heading = pose[2] + mean[2] * step / parts / 2
            cos, sin = heading.cos(), heading.sin()
            way = torch.stack([cos * mean[0] - sin * mean[1], sin * mean[0] + cos * mean[1], mean[2]])
            pose = pose + way * step / parts
    return torch.stack([*poses, pose])


def seen_from_the_end(poses: torch.Tensor) -> torch.Tensor:
    """All poses but the last, in the frame of the last."""
    (x, y, yaw), before = poses[-1], poses[:-1]
    dx, dy = before[:, 0] - x, before[:, 1] - y
    place = torch.stack([yaw.cos() * dx + yaw.sin() * dy, yaw.cos() * dy - yaw.sin() * dx], -1)
    return torch.cat([place, before[:, 2:] - yaw], -1)


def commands(rows: int = 5, count: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, count, 3, generator=generator) * torch.tensor([0.6, 0.4, 0.8])


def test_it_leads_back_along_the_way_that_was_driven():
    told = commands()
    for row, reckoned in zip(told, dead_reckon(told, 0.1), strict=True):
        torch.testing.assert_close(reckoned.double(), seen_from_the_end(drive(row, 0.1)), rtol=0.0, atol=1e-5)


def test_a_simulator_of_shorter_steps_agrees_within_centimetres():
    told = commands(20)
    true = torch.stack([seen_from_the_end(drive(row, 0.1, parts=2)) for row in told])
    assert (dead_reckon(told, 0.1)[:, -8:] - true[:, -8:]).abs().max() < 0.05


def test_a_base_that_was_told_nothing_stands_still():
    assert not dead_reckon(torch.zeros(2, 16, 3), 0.1).any()


def test_ahead_is_behind_afterwards_and_a_left_turn_came_from_the_right():
    told = torch.zeros(1, 16, 3)
    told[..., 0] = 1.0
    x, y, heading = dead_reckon(told, 0.1)[0, 0].tolist()
    assert x == pytest.approx(-1.6 + 0.36, abs=0.1) and y == heading == 0.0  # the lag costs about a third of a metre
    told[..., 2] = 0.5
    assert dead_reckon(told, 0.1)[0, 0, 2] < -0.6
