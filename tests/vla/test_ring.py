"""A ring shows the true distances of what stands round the base, wherever the cameras are and were."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmnav.camera import rays
from mmnav.data.replay import panorama_rig
from mmnav.depth import encode_depth
from mmnav.rig import Panorama, Rig
from mmnav.robot import ROBOT
from mmnav.scenes import ReachCfg, generate
from mmnav.vla import make_student
from mmnav.vla.ring import CELL, Ring, mirror_ring, mirror_views

pytestmark = pytest.mark.unit

STILL = torch.zeros(24, 3)


@pytest.fixture(scope="module", params=["nano", "nano-siglip"])
def config(request):
    return make_student(request.param, seed=1)[0].config


@pytest.fixture(scope="module")
def worlds():
    """Scenes, and the poses of robots in their midst."""
    scene = generate(ReachCfg(), np.arange(24))
    position, orientation = scene.start_poses(ROBOT.center_height)
    return scene, position, orientation


def nearest_depths(config, scene, position, orientation) -> torch.Tensor:
    """Logarithms of the true least depths of all parts, shape [E, V, rows, columns]."""
    depth = Rig(config.rig, scene).render_depth(position, orientation, scene.position)
    rows, columns = (a * b for a, b in zip(config.current_grid, CELL, strict=True))
    return (-F.adaptive_max_pool2d(-depth, (rows, columns))).log()


def moved(position, orientation, pose) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses of bases that are displaced and turned in their own frames by ``pose`` [E, 3]."""
    x, y, z, w = orientation.unbind(-1)
    yaw = 2.0 * torch.atan2(z, w)
    cos, sin, (ahead, left, turn) = yaw.cos(), yaw.sin(), pose.unbind(-1)
    place = position + torch.stack([cos * ahead - sin * left, sin * ahead + cos * left, torch.zeros_like(yaw)], -1)
    half = (yaw + turn) / 2.0
    return place, torch.stack([torch.zeros_like(half), torch.zeros_like(half), half.sin(), half.cos()], -1)


def test_what_never_learned_to_measure_gives_finite_codes_and_gradients(config):
    """Readings of any size: e^89 m is more than fp32 holds."""
    rows, columns = (a * b for a, b in zip(config.current_grid, CELL, strict=True))
    read = 200.0 * torch.randn(2, config.view_count, rows, columns, generator=torch.Generator().manual_seed(0))
    read.requires_grad_()
    ring = Ring(config)
    codes = [ring.every_row(read), *ring.obstacles(read[:, None], STILL[:2, None])]
    sum(code.sum() for code in codes).backward()
    assert all(code.isfinite().all() for code in codes) and read.grad.isfinite().all()
    nearer = torch.where(read > 4.0, 89.0, read.detach())
    assert torch.equal(ring.every_row(nearer), codes[0])


def test_the_nearest_obstacles_are_those_that_the_experts_see(config, worlds):
    """True depths make their ring: its columns differ from the panorama's nearest ones by little."""
    scene, position, orientation = worlds
    code, seen = Ring(config).obstacles(nearest_depths(config, *worlds)[:, None], STILL[:, None])
    free, _ = Panorama(panorama_rig(config), scene, has_movers=False).look(
        position, orientation, scene.position, torch.zeros_like(scene.position)
    )
    truth = encode_depth(free.amin(2))
    assert code.shape == (24, 1, truth.shape[1]) and seen.mean() > 0.97
    error = lambda shift: float((code[:, 0].roll(shift, 1) - truth).abs().mean())  # noqa: E731
    errors = {shift: error(shift) for shift in range(-6, 7)}
    assert min(errors, key=errors.get) == 0 and errors[0] < 0.12
    assert np.corrcoef(code[:, 0].flatten(), truth.flatten())[0, 1] > 0.9


def test_what_stands_still_stays_where_it_is_when_the_base_moves(config, worlds):
    """The ring of an earlier frame, moved by what the base did since, is the present one where both see the same."""
    scene, position, orientation = worlds
    ring = Ring(config)
    pose = torch.tensor([-0.35, 0.1, -0.4]).expand(24, 3)
    now = ring.obstacles(nearest_depths(config, scene, position, orientation)[:, None], STILL[:, None])[0][:, 0]
    before = nearest_depths(config, scene, *moved(position, orientation, pose))[:, None]
    error = lambda pose: (ring.obstacles(before, pose[:, None])[0][:, 0] - now).abs().median()  # noqa: E731
    assert error(pose) < 0.25 * error(STILL)


def test_the_ground_is_no_obstacle(config):
    """On an empty plain, whose depth every pixel's ray tells, nothing is near."""
    ring = Ring(config)
    rise = np.stack([ray @ camera.rotation.T for ray, camera in zip(rays(config.rig), config.rig.cameras, strict=True)])
    height = ROBOT.center_height + config.rig.cameras[0].position[2]
    depth = torch.from_numpy(np.minimum(height / np.maximum(-rise[..., 2], 1e-6), 10.0)).float()
    plain = (-F.adaptive_max_pool2d(-depth, tuple(ring.limit.shape[1:]))).log()[None, None]
    code, seen = ring.obstacles(plain, torch.zeros(1, 1, 3))
    assert seen.all() and torch.equal(code[0, 0], encode_depth(6.0 - ring.hull))
    assert (ring.every_row(plain[:, 0])[:, -1] > code[:, 0]).float().mean() > 0.9


def test_the_nearest_of_a_column_counts_and_has_the_gradient(config):
    """One part reads a metre; the rest, far away."""
    ring = Ring(config)
    rows, columns = ring.limit.shape[1:]
    depth = torch.full((1, 1, 4, rows, columns), math.log(5.0))
    row, column = rows // 2 - 1, columns // 2  # level, in front
    depth[0, 0, 0, row, column] = 0.0
    depth.requires_grad_(True)
    code, _ = ring.obstacles(depth, torch.zeros(1, 1, 3))
    near = (code[0, 0] > code[0, 0].median() + 0.3).nonzero().flatten()
    middle = ring.length // 8
    assert len(near) in (1, 2, 3) and (near - middle).abs().max() <= 2
    reach = ring.place[0, 0, 0, 0] + ring.ray[0, row, column, 0]  # the camera sits in front of the base's middle
    assert float(code[0, 0].detach().max()) == pytest.approx(
        float(encode_depth(reach - ROBOT.half_extents[0])), abs=0.02
    )
    code[0, 0, near].sum().backward()
    assert depth.grad.nonzero().tolist() == [[0, 0, 0, row, column]]


def test_mirrored_views_and_moves_make_a_mirrored_ring(config):
    ring, generator = Ring(config), torch.Generator().manual_seed(0)
    rows, columns = ring.limit.shape[1:]
    depth = torch.rand(3, 2, 4, rows, columns, generator=generator) * 2.0 - 1.0
    pose = torch.randn(3, 2, 3, generator=generator)
    code, _ = ring.obstacles(depth, pose)
    other, _ = ring.obstacles(mirror_views(depth, 2, -1), pose * torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(other, mirror_ring(code, -1), rtol=0.0, atol=1e-4)
    level = ring.every_row(depth[:, 0])
    torch.testing.assert_close(
        ring.every_row(mirror_views(depth[:, 0], 1, -1)), mirror_ring(level, -1), rtol=0.0, atol=1e-4
    )
