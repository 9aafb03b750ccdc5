"""Candidate masks change no pixel, and the test that says so would notice if they did."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmnav.rig import CameraCfg, LensCfg, Rig, RigCfg, depth_rig, fisheye_rig

_WIDE = LensCfg(fx=12.0, fy=16.0, cx=30.0, cy=20.0)
"""A lens that sees more than half of all directions: its views, and some tiles, have no pyramid."""

CFGS = {
    "fisheye": fisheye_rig(64, 64),
    "panorama": replace(depth_rig(32, 8), max_range=20.0),
    "odd": replace(depth_rig(37, 19), max_range=20.0, conservative=False),
    "wide": RigCfg((CameraCfg(_WIDE, pitch=0.5), CameraCfg(_WIDE, yaw=2.0)), 60, 40),
    "pinhole": RigCfg((CameraCfg(LensCfg(30.0, 30.0, 32.0, 24.0, model="pinhole"), (0.2, 0.0, 0.1)),), 64, 48),
}


def _render(rig: Rig, *args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rig.render_depth(*args).clone(), rig.geom.clone()


def _uncull(rig: Rig) -> None:
    """Null planes hold everything, so that every primitive in range becomes a candidate everywhere."""
    rig._constants["block_fences"].zero_()
    rig._constants["patch_fences"].zero_()
    rig._constants["view_planes"].zero_()


@pytest.mark.parametrize("name", CFGS)
def test_masks_change_no_pixel(name, device, worlds, poses):
    """With and without culling, depth and index are equal bit for bit, 5.4 million pixels over all rigs."""
    cfg, env_count = CFGS[name], {"fisheye": 192, "panorama": 400, "odd": 300, "wide": 128, "pinhole": 128}[name]
    scene = worlds(env_count, 40, seed=env_count, extent=2.5).to(device)  # dense: cameras near and inside things
    pose = poses(env_count, seed=env_count, tilt=1.4)
    culled, whole = Rig(cfg, scene, geom_ids=True), Rig(cfg, scene, geom_ids=True)
    _uncull(whole)
    a, b = _render(culled, *pose, scene.position), _render(whole, *pose, scene.position)
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    in_range = (scene.kind > 0).sum(1).view(-1, 1, 1)
    assert _bits(culled.masks).sum() < 0.5 * _bits(whole.masks).sum()
    assert (_bits(whole.masks) <= in_range).all() and (_bits(whole.masks).float().mean() > 20)
    assert 0 < (a[0] == 0.0).float().mean() < 0.5  # some cameras are inside something


def test_range_culling_changes_no_pixel(device, worlds, poses):
    """Depth up to 2.5 m is what a rig with a range of 100 m sees, capped."""
    scene, pose = worlds(128, 40, seed=3).to(device), poses(128, seed=3)
    near = Rig(replace(fisheye_rig(32, 32), max_range=2.5), scene)
    far = Rig(replace(fisheye_rig(32, 32), max_range=100.0), scene)
    depth = near.render_depth(*pose, scene.position)
    assert torch.equal(depth, far.render_depth(*pose, scene.position).clamp(max=2.5))
    assert _bits(near.masks).sum() < 0.95 * _bits(far.masks).sum()


@pytest.mark.parametrize("fault", ["bit", "block_fences", "patch_fences", "view_planes"])
def test_a_wrong_mask_is_noticed(fault, device, worlds, poses):
    """Dropping one bit of 64, or tipping the planes a little inward, changes pixels: the check has teeth."""
    scene, pose = worlds(64, 40, seed=1).to(device), poses(64, seed=1)
    rig = Rig(fisheye_rig(64, 64) if fault != "view_planes" else depth_rig(32, 8), scene, geom_ids=True)
    expected, _ = _render(rig, *pose, scene.position)
    if fault == "bit":
        rig.masks &= ~(1 << 11)
        rig.run(["trace"])
    else:
        planes = rig._constants[fault]
        # Opposite normals sum to a vector along the axis; taking some of it away tips both inward.
        side = 1 if fault == "view_planes" else 3
        opposite = planes.unflatten(side, (planes.shape[side] // 2, 2)).flip(side + 1).flatten(side, side + 1)
        planes -= 0.05 * (planes + opposite)
        rig.run(["place", "mask", "trace"])
    assert 0.0 < (rig.depth != expected).float().mean() < 0.1


def _bits(masks: torch.Tensor) -> torch.Tensor:
    """Number of set bits of int64 words."""
    count = torch.zeros_like(masks)
    for k in range(64):
        count += (masks >> k) & 1
    return count
