"""One lane, as on a GPU, and sixteen give the same bytes; so do two fresh processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from random_worlds import random_poses, random_scene

from mmnav.rig import JitterCfg, Rig, RigCfg, fisheye_rig, random_day
from mmnav.rig.look import TEXTURES

_SCRIPT = "import sys; sys.path.insert(0, sys.argv[1]); import test_lanes; print(test_lanes.digest())"


def _rig_cfg() -> RigCfg:
    cfg = fisheye_rig(45, 34)
    return RigCfg(cfg.cameras, cfg.width, cfg.height, samples=2, jitter=JitterCfg(lenses=3))


def digest() -> str:
    """Hash of colour, depth and class of worlds with everything in them."""
    scene, pose = random_scene(24, 40, seed=31), random_poses(24, seed=31)
    rng = np.random.default_rng(0)
    scene.color.copy_(torch.from_numpy(rng.uniform(0.1, 0.9, scene.color.shape)))
    scene.texture.copy_(torch.from_numpy(rng.integers(0, len(TEXTURES), scene.texture.shape)))
    images = Rig(_rig_cfg(), scene, look=random_day()).render(*pose, scene.position)
    assert len(images.label.unique()) == 7  # every kind, the ground and the sky
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in (images.rgb, images.depth, images.label))).hexdigest()


def test_one_lane_and_sixteen_and_a_fresh_process_give_the_same_bytes(python):
    here = str(Path(__file__).parent)
    fresh = python("-c", _SCRIPT, here)
    one_lane = python("-c", _SCRIPT, here, MMNAV_ONE_LANE="1")
    assert fresh.returncode == one_lane.returncode == 0, fresh.stderr + one_lane.stderr
    assert fresh.stdout.split()[-1] == one_lane.stdout.split()[-1] == digest()
    kernels = [_module(run.stdout) for run in (fresh, one_lane)]
    assert kernels[0] != kernels[1]  # they were two builds


def _module(text: str) -> str:
    """The hash of the rig's Warp module in what Warp prints."""
    return next(line.split()[2] for line in text.splitlines() if line.startswith("Module mmnav.rig.kernels"))
