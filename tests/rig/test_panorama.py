"""A panorama says how far the robot may go in every direction, and how what is there moves."""

from __future__ import annotations

import math

import pytest
import torch

from mmnav.depth import encode_depth
from mmnav.rig import Panorama, depth_rig
from mmnav.rig.panorama import encode_panorama, to_base
from mmnav.robot import ROBOT
from mmnav.scenes.batch import Kind

pytestmark = pytest.mark.unit

COLUMNS, ROWS = 11, 3
HEIGHT = ROBOT.center_height


@pytest.fixture
def pillars(worlds):
    """One world with a thin pillar 3 m in front of the origin and another 2 m to its left; returns it and speeds."""
    scene = worlds(1, 2, seed=0)
    scene.kind[:] = int(Kind.CYLINDER)
    scene.position[0] = torch.tensor([[3.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    scene.orientation[:] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    scene.size[:] = torch.tensor([0.25, 0.25, 1.0])
    return scene, torch.tensor([[[0.0, -0.7, 0.0], [0.3, 0.0, 0.0]]])


def look(scene, velocity, yaw: float = 0.0, **kwargs):
    panorama = Panorama(depth_rig(COLUMNS, ROWS), scene, **kwargs)
    orientation = torch.tensor([[0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)]])
    return panorama.look(torch.tensor([[0.0, 0.0, HEIGHT]]), orientation, scene.position, velocity)


def middle(view: int) -> int:
    """The column in the middle of a view: front, right, back, left."""
    return view * COLUMNS + COLUMNS // 2


def test_free_depth_begins_at_the_robots_sides(pillars):
    free, _ = look(*pillars)
    assert free.shape == (1, 4 * COLUMNS, ROWS)
    ahead, left = free[0, middle(0)].min(), free[0, middle(3)].min()
    assert ahead == pytest.approx(3.0 - 0.25 - ROBOT.half_extents[0], abs=0.03)
    assert left == pytest.approx(2.0 - 0.25 - ROBOT.half_extents[1], abs=0.03)
    assert free[0, middle(1)].min() > 3.0


def test_columns_tell_the_velocity_of_what_is_nearest_there(pillars):
    _, moving = look(*pillars)
    assert moving[0, middle(0)].tolist() == pytest.approx([0.0, -0.7], abs=1e-6)
    assert moving[0, middle(3)].tolist() == pytest.approx([0.3, 0.0], abs=1e-6)
    assert not moving[0, middle(1)].any() and not moving[0, middle(2)].any()


def test_a_turned_robot_sees_the_same_turned(pillars):
    free, moving = look(*pillars)
    quarter_free, quarter_moving = look(*pillars, yaw=math.pi / 2)  # its front looks where its left did
    torch.testing.assert_close(quarter_moving[0, middle(0)], torch.tensor([0.0, -0.3]), rtol=0.0, atol=1e-6)
    torch.testing.assert_close(quarter_moving[0, middle(1)], torch.tensor([-0.7, 0.0]), rtol=0.0, atol=1e-6)
    hull = ROBOT.half_extents[0] - ROBOT.half_extents[1]
    assert quarter_free[0, middle(0)].min() == pytest.approx(free[0, middle(3)].min() - hull, abs=0.01)


def test_without_movers_nothing_moves(pillars):
    free, moving = look(*pillars, has_movers=False)
    assert torch.equal(free, look(*pillars)[0]) and not moving.any()


def test_a_policy_takes_depths_and_then_velocities(pillars):
    seen = encode_panorama(*look(*pillars))
    assert seen.shape == (1, 4 * COLUMNS, ROWS + 2)
    free, moving = look(*pillars)
    assert torch.equal(seen[..., :ROWS], encode_depth(free)) and torch.equal(seen[..., ROWS:], moving)
    assert float(encode_depth(torch.tensor(0.95))) == pytest.approx(0.0, abs=1e-7)


def test_vectors_turn_into_the_bases_frame_whatever_their_shape():
    half = math.pi / 4
    left = torch.tensor([[0.0, 0.0, math.sin(half), math.cos(half)]])
    east = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(to_base(east, left), torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]), rtol=0.0, atol=1e-6)
    torch.testing.assert_close(to_base(east[:, 0], left), torch.tensor([[0.0, -1.0]]), rtol=0.0, atol=1e-6)
