"""Jitter: drawn from each world's seed alone, within its limits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mmnav.camera import JitterCfg, fisheye_rig
from mmnav.rig.jitter import place_cameras


def test_a_worlds_cameras_depend_on_its_seed_alone():
    mounts, lens = place_cameras(replace(fisheye_rig(), jitter=JitterCfg()), np.array([5, 6, 5]))
    assert np.array_equal(mounts[0], mounts[2]) and np.array_equal(lens[0], lens[2])
    assert not np.array_equal(mounts[0], mounts[1])


def test_jitter_keeps_to_its_limits_and_rotations_are_rotations():
    cfg = replace(fisheye_rig(32, 32), jitter=JitterCfg(position=0.03, rotation=0.1, lenses=5))
    mounts, lens = place_cameras(cfg, np.arange(500))
    turn, place = mounts[..., :9].reshape(500, 4, 3, 3), mounts[..., 9:]
    nominal = np.stack([camera.rotation for camera in cfg.cameras])
    assert np.abs(turn @ turn.swapaxes(-1, -2) - np.eye(3)).max() < 1e-9
    angle = np.arccos(np.clip((np.trace(turn @ nominal.swapaxes(-1, -2), axis1=-2, axis2=-1) - 1) / 2, -1, 1))
    assert 0.1 < angle.max() <= 0.1 * math.sqrt(3) + 1e-9
    away = np.abs(place - [camera.position for camera in cfg.cameras])
    assert 0.029 < away.max() <= 0.03
    assert all(set(lens[:, c]) == set(range(5 * c, 5 * c + 5)) for c in range(4))
