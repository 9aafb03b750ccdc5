"""Depth: against the float64 reference, against closed forms, and where the input is bad."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import rig_reference
import torch
from scipy.spatial.transform import Rotation

from mmnav.camera import rays
from mmnav.rig import DEPTH_RIG, GROUND, NOTHING, CameraCfg, LensCfg, Rig, RigCfg, depth_rig, fisheye_rig
from mmnav.scenes.batch import Kind

LEVEL = torch.tensor([[0.0, 0.0, 0.0, 1.0]])


def _mixed(width: int, height: int) -> RigCfg:
    """A pinhole and a fisheye in one rig."""
    fisheye = LensCfg(fx=0.5 * width, fy=0.4 * width, cx=0.5 * width, cy=0.4 * height, k=(-0.02, 0.003))
    lens = LensCfg(fx=0.7 * width, fy=0.8 * width, cx=0.45 * width, cy=0.55 * height, model="pinhole")
    cameras = (CameraCfg(lens, (0.1, 0.05, 0.2), yaw=0.4, pitch=0.3), CameraCfg(fisheye, (-0.2, 0.0, 0.1), -2.5))
    return RigCfg(cameras=cameras, width=width, height=height, max_range=8.0)


def _axis(max_range: float = 20.0, ground: bool = False, conservative: bool = False) -> RigCfg:
    """One camera in the base's centre whose only pixel looks along +x."""
    lens = LensCfg(fx=100.0, fy=100.0, cx=0.5, cy=0.5)
    return RigCfg((CameraCfg(lens),), 1, 1, max_range=max_range, ground=ground, conservative=conservative)


LENSES = {
    "fisheye": fisheye_rig(23, 18),
    "mixed": _mixed(29, 21),
    "panorama": depth_rig(30, 10),
}


@pytest.mark.parametrize("name", LENSES)
def test_depth_agrees_with_the_float64_reference(name, device, worlds, poses):
    """Away from edges, depth is right to one part in a thousand and the index is right."""
    cfg = LENSES[name]
    cfg = RigCfg(cfg.cameras, cfg.width, cfg.height, max_range=cfg.max_range, ground=True, conservative=False)
    scene = worlds(8, 40, seed=len(name))
    position, orientation = poses(8, seed=len(name))
    expected, index, edge = rig_reference.render(cfg, scene, position.double().numpy(), orientation.double().numpy())
    rig = Rig(cfg, scene.to(device), geom_ids=True, threads=1)
    depth = rig.render_depth(position, orientation, scene.position).cpu().numpy()
    error = np.abs(depth - expected) / np.maximum(expected, 1e-3)
    assert edge.mean() < 0.01
    assert set(np.unique(scene.kind[scene.kind > 0])) == {1, 2, 3, 4, 5}
    assert (index >= 0).mean() > 0.2  # enough is seen
    assert error[~edge].max() < 1e-3
    assert (rig.geom.cpu().numpy() == index)[~edge].all()


@pytest.mark.parametrize(
    ("kind", "size", "quaternion", "expected"),
    [
        (Kind.BOX, (0.5, 0.2, 0.3), (0.0, 0.0, 0.0, 1.0), 2.5),
        (Kind.BOX, (0.5, 0.5, 0.3), Rotation.from_euler("z", 45, degrees=True).as_quat(), 3.0 - math.sqrt(0.5)),
        (Kind.SPHERE, (0.4, 0.4, 0.4), (0.0, 0.0, 0.0, 1.0), 2.6),
        (Kind.CYLINDER, (0.3, 0.3, 1.0), (0.0, 0.0, 0.0, 1.0), 2.7),
        (Kind.CYLINDER, (0.3, 0.3, 1.0), Rotation.from_euler("y", 90, degrees=True).as_quat(), 2.0),
        (Kind.CAPSULE, (0.3, 0.3, 1.0), (0.0, 0.0, 0.0, 1.0), 2.7),
        (Kind.CAPSULE, (0.3, 0.3, 1.0), Rotation.from_euler("y", 90, degrees=True).as_quat(), 2.0),
        (Kind.CONE, (0.4, 0.4, 0.5), (0.0, 0.0, 0.0, 1.0), 2.8),  # half the base radius at half height
        (Kind.CONE, (0.4, 0.4, 0.5), Rotation.from_euler("y", 90, degrees=True).as_quat(), 2.5),  # at its base
        (Kind.CONE, (0.4, 0.4, 0.5), Rotation.from_euler("y", -90, degrees=True).as_quat(), 2.5),  # at its apex
    ],
)
def test_closed_forms(kind, size, quaternion, expected, device, scene_of):
    """A ray along +x at a primitive centred 3 m ahead ends where geometry says."""
    scene = scene_of((kind, (3.0, 0.0, 1.0), size, quaternion)).to(device)
    rig = Rig(_axis(), scene, geom_ids=True)
    depth = rig.render_depth(torch.tensor([[0.0, 0.0, 1.0]]), LEVEL, scene.position)
    assert depth.item() == pytest.approx(expected, abs=2e-5)
    assert rig.geom.item() == 0


def test_ground_and_sky_have_their_depth_and_index(device, scene_of):
    """Over bare ground depth is height over the ray's fall, and nothing beyond max_range."""
    scene = scene_of((Kind.NONE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))).to(device)
    rig = Rig(replace(DEPTH_RIG, ground=True), scene, geom_ids=True)
    depth = rig.render_depth(torch.tensor([[5.0, -3.0, 0.25]]), LEVEL, scene.position).cpu().numpy()
    fall = -rays(DEPTH_RIG)[..., 2]
    expected = np.where(fall > 0.0, np.minimum(0.40 / np.maximum(fall, 1e-9), 6.0), 6.0)
    np.testing.assert_allclose(depth[0], expected, rtol=1e-5)
    assert ((rig.geom.cpu().numpy()[0] == GROUND) == (expected < 6.0)).all()
    assert ((rig.geom.cpu().numpy()[0] == NOTHING) == (expected == 6.0)).all()


def test_depth_is_euclidean_and_capped(device, scene_of):
    """A wall 4 m ahead is 4 / cos(angle) away along a ray, and max_range away where it is farther."""
    scene = scene_of((Kind.BOX, (4.1, 0.0, 0.0), (0.1, 50.0, 50.0))).to(device)
    lens = LensCfg(fx=20.0, fy=20.0, cx=16.0, cy=8.0)
    cfg = RigCfg((CameraCfg(lens),), 32, 16, max_range=5.0, ground=False)
    depth = Rig(cfg, scene).render_depth(torch.zeros(1, 3), LEVEL, scene.position).cpu().numpy()[0]
    np.testing.assert_allclose(depth, np.minimum(4.0 / rays(cfg)[..., 0], 5.0), rtol=1e-5)
    assert 0.1 < (depth == 5.0).mean() < 0.9


def test_panorama_is_continuous_along_the_horizon(device, scene_of):
    """F | R | B | L in a row are headings that fall by one step everywhere, seams included, and depth follows."""
    cfg = depth_rig(32, 8)
    # In the row nearest the horizon the headings of rays differ from equal steps by less than a fifteenth of a step.
    world = np.stack([rays(cfg)[c] @ camera.rotation.T for c, camera in enumerate(cfg.cameras)])
    row = 2
    heading = np.unwrap(np.arctan2(world[:, row, :, 1], world[:, row, :, 0]).ravel())
    step = np.diff(heading)
    np.testing.assert_allclose(step, -math.tau / 128, rtol=1 / 15)
    assert heading[0] == pytest.approx(math.radians(45.0) - math.tau / 256, abs=3e-3)
    # Round the inside of a square room, depth is continuous across the seams and the first wall is ahead.
    walls = [(4.0, 0.0, 0.1, 4.0), (-4.0, 0.0, 0.1, 4.0), (0.0, 4.0, 4.0, 0.1), (0.0, -4.0, 4.0, 0.1)]
    scene = scene_of(*[(Kind.BOX, (x, y, 1.0), (hx, hy, 1.0)) for x, y, hx, hy in walls]).to(device)
    rig = Rig(cfg, scene, geom_ids=True)
    turned = torch.tensor(Rotation.from_euler("z", 0.3).as_quat()[None], dtype=torch.float32)
    depth = rig.render_depth(torch.tensor([[0.3, -0.2, 0.25]]), turned, scene.position)[0, :, row].flatten()
    assert (depth.diff(append=depth[:1]).abs() < 0.35).all()
    assert rig.geom[0, :, row, 16].tolist() == [0, 3, 1, 2]  # ahead, right, behind, left


def test_movers_and_new_worlds_are_followed(device, scene_of):
    """A primitive is seen where this call says it is, and a new world where assign() put it."""
    scene = scene_of((Kind.SPHERE, (3.0, 0.0, 0.0), (0.5, 0.5, 0.5)), env_count=3).to(device)
    rig = Rig(_axis(), scene)
    poses = torch.zeros(3, 3), LEVEL.repeat(3, 1)
    moved = scene.position + torch.tensor([[[0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]], device=device)
    assert rig.render_depth(*poses, moved).flatten().tolist() == pytest.approx([2.5, 3.5, 20.0])
    bigger = scene[torch.tensor([1])]
    bigger.size[:] = 1.0
    scene.assign(torch.tensor([2], device=device), bigger)
    assert rig.render_depth(*poses, scene.position).flatten().tolist() == pytest.approx([2.5, 2.5, 2.0])


@pytest.mark.parametrize("kind", [Kind.BOX, Kind.CYLINDER, Kind.CONE, Kind.SPHERE, Kind.CAPSULE])
@pytest.mark.parametrize("conservative", [False, True])
def test_a_camera_inside_a_primitive_sees_zero(kind, conservative, device, scene_of):
    """Every pixel of that view is 0 with the primitive's index, in any orientation; a centimetre outside it is not."""
    turn = Rotation.from_euler("xyz", [0.3, -0.4, 1.0])
    half = 0.5 if kind in (Kind.SPHERE, Kind.CAPSULE) else 0.6
    scene = scene_of(
        (Kind.BOX, (9.0, 0.0, 1.0), (0.1, 0.1, 0.1)),
        (kind, (0.0, 0.0, 1.0), (0.5, 0.5, half), turn.as_quat()),
        env_count=2,
    ).to(device)
    lens = LensCfg(fx=5.0, fy=5.0, cx=5.0, cy=4.0)
    cfg = RigCfg((CameraCfg(lens), CameraCfg(lens, yaw=3.0)), 10, 8, conservative=conservative)
    rig = Rig(cfg, scene, geom_ids=True)
    below = turn.apply([0.0, 0.0, -half - 0.01]) + [0.0, 0.0, 1.0]
    position = torch.tensor(np.stack([[0.02, 0.01, 0.97], below]), dtype=torch.float32)
    depth = rig.render_depth(position, LEVEL.repeat(2, 1), scene.position)
    assert (depth[0] == 0.0).all() and (rig.geom[0] == 1).all()
    assert (depth[1] > 0.0).all()


def test_a_camera_below_the_ground_sees_zero(device, scene_of):
    """Every pixel is 0 with the ground's index, also those that look up; without a ground nothing is there."""
    scene = scene_of((Kind.NONE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))).to(device)
    for ground, depth, index in ((True, 0.0, GROUND), (False, DEPTH_RIG.max_range, NOTHING)):
        rig = Rig(replace(DEPTH_RIG, ground=ground), scene, geom_ids=True)
        seen = rig.render_depth(torch.tensor([[0.0, 0.0, -0.3]]), LEVEL, scene.position)
        assert (seen == depth).all() and (rig.geom == index).all()


def test_nan_stays_in_its_env(device, worlds, poses):
    """An env with a NaN pose sees max_range; a primitive with a NaN is not there; all else is as without."""
    scene = worlds(6, 20, seed=5).to(device)
    position, orientation = poses(6, seed=5)
    cfg = fisheye_rig(16, 16)
    clean = Rig(cfg, scene, geom_ids=True)
    expected = clean.render_depth(position, orientation, scene.position).clone()
    position[1, 2] = orientation[3, 0] = math.nan
    geom_position = scene.position.clone()
    geom_position[4, 7, 1] = math.nan
    rig = Rig(cfg, scene, geom_ids=True)
    depth = rig.render_depth(position, orientation, geom_position)
    assert torch.equal(depth[[0, 2, 5]], expected[[0, 2, 5]])
    assert (depth[[1, 3]] == cfg.max_range).all() and (rig.geom[[1, 3]] == NOTHING).all()
    assert depth.isfinite().all() and not (rig.geom[4] == 7).any()
    others = (clean.geom[4] != 7) & (rig.geom[4] == clean.geom[4])
    assert torch.equal(depth[4][others], expected[4][others])


def test_bad_shapes_are_named(scene_of):
    """A pose or position array of another shape is refused by name, as is a scene that cannot be read in place."""
    scene = scene_of((Kind.BOX, (3.0, 0.0, 0.0), (0.5, 0.5, 0.5)), env_count=2)
    rig = Rig(_axis(), scene)
    with pytest.raises(ValueError, match=r"robot_orientation has shape \(2, 3\); this rig needs \(2, 4\)"):
        rig.render_depth(torch.zeros(2, 3), torch.zeros(2, 3), scene.position)
    with pytest.raises(ValueError, match=r"threads is 0"):
        Rig(_axis(), scene, threads=0)
    scene.size = scene.size.repeat(1, 1, 2)[..., ::2]
    with pytest.raises(ValueError, match=r"SceneBatch.size is not contiguous"):
        Rig(_axis(), scene)
