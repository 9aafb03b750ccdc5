"""Dead reckoning: a base that follows commands in its nominal way is where its commands say."""

from __future__ import annotations

import math

import pytest
import torch

from mmnav.robot import ROBOT
from mmnav.vla.odometry import advance, reckon, seen_from

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


def commands(rows: int = 5, count: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, count, 3, generator=generator) * torch.tensor([0.6, 0.4, 0.8])


def test_it_follows_the_way_that_was_driven():
    told = commands()
    for row, reckoned in zip(told, reckon(told, 0.1), strict=True):
        torch.testing.assert_close(reckoned.double(), drive(row, 0.1)[:-1], rtol=0.0, atol=1e-5)


def test_every_base_has_its_own_step():
    told, step = commands(2), torch.tensor([[0.1], [0.05]])
    together = reckon(told, step)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], reckon(told[i : i + 1], float(step[i])))


def test_a_simulator_of_shorter_steps_agrees_within_centimetres():
    told = commands(20)
    true = torch.stack([drive(row, 0.1, parts=2)[:-1] for row in told])
    assert (reckon(told, 0.1) - true).abs().max() < 0.1


def test_a_base_that_was_told_nothing_stands_still():
    assert not reckon(torch.zeros(2, 16, 3), 0.1).any()


def test_a_left_turn_ahead_leads_to_the_left():
    told = torch.tensor([1.0, 0.0, 0.5]).expand(1, 17, 3)
    x, y, heading = reckon(told, 0.1)[0, -1].tolist()
    assert 0.9 < x < 1.6 and 0.2 < y < 0.8 and 0.5 < heading < 0.8


def test_a_pose_seen_from_another_one():
    """Two metres north of a base that looks north is two metres ahead; its turn is the difference."""
    north = torch.tensor([[1.0, 1.0, math.pi / 2]])
    seen = seen_from(north, torch.tensor([[1.0, 3.0, math.pi]]))
    torch.testing.assert_close(seen, torch.tensor([[2.0, 0.0, math.pi / 2]]), rtol=0.0, atol=1e-6)
    assert not seen_from(north, north).any()


def test_acceleration_is_limited():
    _, velocity = advance(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([[50.0, -50.0, 50.0]]), 0.1)
    torch.testing.assert_close(velocity[0], torch.tensor(ROBOT.acceleration) * 0.1 * torch.tensor([1.0, -1.0, 1.0]))
