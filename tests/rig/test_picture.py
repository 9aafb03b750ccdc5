"""Pictures of the rig: the panorama is stitched right, and the command answers bad words in a line."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from mmnav.camera import rays
from mmnav.rig import fisheye_rig
from mmnav.rig.picture import stitch, view_names


def test_the_panorama_shows_every_direction_where_it_is():
    """From one point, views painted with their own rays' azimuths and elevations stitch to a plain grid of angles."""
    cfg = fisheye_rig(200, 200)
    cfg = replace(cfg, cameras=tuple(replace(camera, position=(0.0, 0.0, 0.0)) for camera in cfg.cameras))
    world = np.stack([r @ camera.rotation.T for r, camera in zip(rays(cfg), cfg.cameras, strict=True)])
    panorama = stitch(cfg, world, width=720)
    rows = panorama.shape[0]
    azimuth = math.pi - (np.arange(720) + 0.5) * (2 * math.pi / 720)
    elevation = 0.6 - (np.arange(rows) + 0.5) * (2 * math.pi / 720)
    expected = np.stack(
        np.broadcast_arrays(
            np.cos(elevation)[:, None] * np.cos(azimuth), np.cos(elevation)[:, None] * np.sin(azimuth),
            np.sin(elevation)[:, None],
        ), -1,
    )  # fmt: skip
    assert np.linalg.norm(panorama - expected, axis=-1).max() < 0.02  # a pixel
    assert view_names(cfg) == ["F", "R", "B", "L"]


def test_the_command_draws_one_robot_or_a_gallery(python, tmp_path):
    for words in (["Reach"], ["Squeeze", "Avoid"]):
        out = tmp_path / f"{len(words)}.png"
        result = python("-m", "mmnav.rig", *words, "--size", 32, "--out", out)
        assert result.returncode == 0, result.stderr
        assert str(out) in result.stdout and imread(out).std() > 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Reech"], "'Reech'"),
        (["Reach", "--size", "0"], "--size must be at least 1, not 0"),
        (["Reach", "--samples", "3"], "RigCfg.samples is 3"),
        (["Reach", "--difficulty", "2"], "--difficulty must lie in [0, 1]"),
        (["Reach", "--out", "nowhere/x.png"], "the folder nowhere does not exist"),
    ],
)
def test_bad_words_give_one_line(python, words, message):
    result = python("-m", "mmnav.rig", *words)
    assert result.returncode == 2 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and message in line
