"""What the rig sees agrees with itself where views overlap, and with the clearance kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mmnav.camera import rays
from mmnav.rig import CameraCfg, LensCfg, Rig, RigCfg, fisheye_rig, plain_day
from mmnav.robot import RobotCfg
from mmnav.scenes.clearance import Clearance

_CUBE = LensCfg(32.0, 32.0, 32.0, 32.0, model="pinhole")
SPHERE_RIG = RigCfg(
    cameras=tuple(CameraCfg(_CUBE, yaw=np.pi / 2 * i) for i in range(4))
    + tuple(CameraCfg(_CUBE, pitch=sign * np.pi / 2) for sign in (-1.0, 1.0)),
    width=64,
    height=64,
    ground=False,
)
"""Six pinholes that see every direction."""


def test_neighbouring_views_agree_where_they_overlap(device, worlds, poses):
    """From one point, a direction has one depth, one class and one colour, whichever camera looks."""
    cfg = fisheye_rig(96, 96)
    cfg = replace(cfg, cameras=tuple(replace(camera, position=(0.0, 0.0, 0.0)) for camera in cfg.cameras))
    scene, pose = worlds(12, 30, seed=5).to(device), poses(12, seed=5)
    images = Rig(cfg, scene, look=plain_day(), threads=1).render(*pose, scene.position)
    rgb, depth, label = (t.cpu().numpy() for t in (images.rgb, images.depth, images.label))
    for i, camera in enumerate(cfg.cameras):
        other_index = (i + 1) % 4
        other = cfg.cameras[other_index]
        u, v = other.lens.project(rays(cfg)[i] @ camera.rotation.T @ other.rotation)
        inside = (u > 1) & (u < cfg.width - 1) & (v > 1) & (v < cfg.height - 1)
        rows, columns = v[inside].astype(int), u[inside].astype(int)
        assert inside.mean() > 0.2
        around = _around(depth[:, other_index])[:, :, rows, columns]
        here = depth[:, i][:, inside]
        same = label[:, i][:, inside] == label[:, other_index][:, rows, columns]
        assert same.mean() > 0.97  # what differs are edges: the two pixels' rays are up to a pixel apart
        fits = (here >= 0.98 * around.min(0)) & (here <= 1.02 * around.max(0))
        assert fits.mean() > 0.995, fits.mean()
        color = np.abs(rgb[:, i][:, :, inside].astype(int) - rgb[:, other_index][:, :, rows, columns]).max(1)
        assert np.median(color[same]) <= 1.0


def _around(images: np.ndarray) -> np.ndarray:
    """Every pixel's nine neighbours, itself among them, shape [9, ...]."""
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.stack([np.roll(images, shift, (-2, -1)) for shift in shifts])


def test_the_nearest_of_all_rays_is_as_far_as_the_clearance_of_a_point(device, worlds, poses):
    """No ray is shorter than the clearance; among rays 1.8 degrees apart one is hardly longer."""
    scene, (position, orientation) = worlds(400, 12, seed=11).to(device), poses(400, seed=11)
    point = RobotCfg(half_extents=(1e-4, 1e-4, 1e-4))
    distance, _ = Clearance(scene, point, max_distance=3.0).update(
        position.to(device), orientation.to(device), scene.position
    )
    depth = Rig(SPHERE_RIG, scene).render_depth(position, orientation, scene.position)
    nearest, distance = depth.flatten(1).amin(1).cpu(), distance.cpu()
    seen = distance < 2.9
    assert seen.sum() > 300 and (distance == 0.0).sum() > 10
    assert (nearest[seen] >= distance[seen] - 1e-3).all()
    assert (nearest[~seen] >= 2.899).all()
    assert torch.equal(nearest == 0.0, distance < 5e-4)
    assert (nearest[seen] <= 1.03 * distance[seen] + 0.01).float().mean() > 0.98
