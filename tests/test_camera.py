"""Cameras: rays are what the lens equations say, and impossible configurations say why."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mmnav.camera import DEPTH_RIG, FISHEYE_RIG, CameraCfg, LensCfg, RigCfg, rays

LENS = LensCfg(fx=20.0, fy=20.0, cx=16.0, cy=8.0)


@pytest.mark.parametrize("k", [(), (-0.02, 0.003), (0.1, -0.01, 0.001, 0.0002)])
def test_kannala_brandt_projects_back(k):
    """Projecting each ray with the forward equation returns to its pixel."""
    lens = LensCfg(fx=18.0, fy=25.0, cx=15.0, cy=9.0, k=k)
    cfg = RigCfg((CameraCfg(lens),), 32, 24)
    d = rays(cfg)[0]
    theta = np.arctan2(np.hypot(d[..., 1], d[..., 2]), d[..., 0])
    theta_d = theta + sum(c * theta ** (2 * i + 3) for i, c in enumerate(k))
    phi = np.arctan2(-d[..., 2], -d[..., 1])
    u, v = np.meshgrid(np.arange(32) + 0.5, np.arange(24) + 0.5)
    np.testing.assert_allclose(15.0 + 18.0 * theta_d * np.cos(phi), u, atol=1e-9)
    np.testing.assert_allclose(9.0 + 25.0 * theta_d * np.sin(phi), v, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(d, axis=-1), 1.0, atol=1e-12)


def test_pinhole_rays():
    """A pinhole's ray is (1, -(u - cx) / fx, -(v - cy) / fy) up to length."""
    cfg = RigCfg((CameraCfg(replace(LENS, model="pinhole")),), 32, 16)
    d = rays(cfg)[0]
    np.testing.assert_allclose(d[3, 5] / d[3, 5, 0], [1.0, -(5.5 - 16.0) / 20.0, -(3.5 - 8.0) / 20.0], atol=1e-12)


def test_mount_turns_left_with_yaw_and_down_with_pitch():
    """Yaw of +90 degrees looks left; positive pitch looks down."""
    np.testing.assert_allclose(CameraCfg(LENS, yaw=math.pi / 2).rotation[:, 0], [0, 1, 0], atol=1e-12)
    down = CameraCfg(LENS, pitch=0.3).rotation
    np.testing.assert_allclose(down[:, 0], [math.cos(0.3), 0.0, -math.sin(0.3)], atol=1e-12)
    np.testing.assert_allclose(down[:, 1], [0, 1, 0], atol=1e-12)


def test_ready_made_rigs():
    """MM-Nav's cameras see 130 degrees each, all round; the experts' rows span -38 to +14 degrees."""
    d = rays(FISHEYE_RIG)[0, 64]
    pixel = math.radians(130.0) / 128
    assert math.acos(d[0] @ d[-1]) == pytest.approx(math.radians(130.0) - pixel, abs=pixel / 5)
    assert [round(math.degrees(c.yaw)) for c in FISHEYE_RIG.cameras] == [0, -90, 180, 90]
    assert [round(math.degrees(c.yaw)) for c in DEPTH_RIG.cameras] == [0, -90, 180, 90]
    lens, rows = DEPTH_RIG.cameras[0].lens, DEPTH_RIG.height
    half_row = math.radians(52.0 / 2 / rows)
    elevation = np.arcsin(lens.directions(np.full(rows, DEPTH_RIG.width / 2), np.arange(rows) + 0.5)[:, 2])
    assert elevation[0] == pytest.approx(math.radians(14.0) - half_row)
    assert elevation[-1] == pytest.approx(math.radians(-38.0) + half_row)
    edges = lens.directions(np.array([0.0, DEPTH_RIG.width]), np.full(2, lens.cy))
    np.testing.assert_allclose(np.arctan2(edges[:, 1], edges[:, 0]), [math.pi / 4, -math.pi / 4], atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(LENS, fx=0.0), r"LensCfg\.fx is 0\.0"),
        (lambda: replace(LENS, fy=math.nan), r"LensCfg\.fy is nan"),
        (lambda: replace(LENS, cx=math.inf), r"LensCfg\.cx is inf"),
        (lambda: replace(LENS, model="mirror"), r"LensCfg\.model is 'mirror'.*kannala_brandt, pinhole"),
        (lambda: replace(LENS, model="pinhole", k=(0.1,)), r"LensCfg\.k is \(0\.1,\)"),
        (lambda: replace(LENS, k=(math.nan,)), r"LensCfg\.k is \(nan,\)"),
        (lambda: RigCfg((), 32, 16), r"RigCfg\.cameras is empty"),
        (lambda: RigCfg((CameraCfg(LENS),), 0, 16), r"RigCfg\.width is 0"),
        (lambda: RigCfg((CameraCfg(LENS),), 32, -1), r"RigCfg\.height is -1"),
        (lambda: RigCfg((CameraCfg(LENS),), 32.5, 16), r"RigCfg\.width is 32\.5"),
        (lambda: RigCfg((CameraCfg(LENS),), 32, 16, max_range=0.0), r"RigCfg\.max_range is 0\.0"),
        (lambda: RigCfg((CameraCfg(LENS, yaw=math.nan),), 32, 16), r"RigCfg\.cameras\[0\] has a pose"),
        (
            lambda: RigCfg((CameraCfg(LENS), CameraCfg(replace(LENS, k=(-0.5,)))), 32, 16),
            r"RigCfg\.cameras\[1\]: LensCfg\.k is \(-0\.5,\).*stops growing at theta = 0\.8",
        ),
        (lambda: RigCfg((CameraCfg(LENS),), 200, 16), r"RigCfg\.cameras\[0\].*would have to pass theta = 3\.14"),
        (
            lambda: RigCfg((CameraCfg(replace(LENS, fx=1.0, cx=1.0)),), 2, 2, conservative=True),
            r"RigCfg\.conservative needs pixels below",
        ),
    ],
)
def test_bad_configurations_name_field_and_value(make, message):
    """An impossible value is refused when the configuration is made."""
    with pytest.raises(ValueError, match=message):
        make()
