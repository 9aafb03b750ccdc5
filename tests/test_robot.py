"""The robot's hull as rays leave it."""

from __future__ import annotations

import numpy as np
import pytest

from mmnav.robot import ROBOT


def test_rays_leave_the_hull_on_the_footprints_edge():
    rng = np.random.default_rng(0)
    rays = rng.normal(size=(1000, 3))
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    left = rays[:, :2] * ROBOT.hull_distance(rays)[:, None]
    assert np.abs(left / ROBOT.half_extents[:2]).max(-1) == pytest.approx(np.ones(1000))


@pytest.mark.parametrize(("ray", "distance"), [((1, 0, 0), 0.35), ((0, -1, 0), 0.155), ((0.6, 0, 0.8), 0.35 / 0.6)])
def test_known_rays(ray, distance):
    assert ROBOT.hull_distance(np.array(ray, dtype=float)) == pytest.approx(distance)
