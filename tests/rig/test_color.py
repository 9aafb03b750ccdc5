"""Colour: against the float64 reference, and what light, noise and samples must do."""

from __future__ import annotations

from dataclasses import replace

import color_reference
import numpy as np
import pytest
import torch

from mmnav.rig import LABELS, JitterCfg, LookCfg, Rig, fisheye_rig
from mmnav.rig.look import TEXTURES, draw_look

QUIET = LookCfg(noise=(0.0, 0.0), shiny=0.4)


def _painted(scene):
    """A scene with colours, textures of every family and seeds of their own."""
    rng = np.random.default_rng(scene.env_count)
    scene.color.copy_(torch.from_numpy(rng.uniform(0.1, 0.9, scene.color.shape)))
    scene.texture.copy_(torch.from_numpy(rng.integers(0, len(TEXTURES), scene.texture.shape)))
    return scene


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("shadows", [True, False])
def test_color_agrees_with_the_float64_reference(samples, shadows, device, worlds, poses):
    """Colours are right to two levels in 255 on all but one pixel in ten thousand."""
    cfg = replace(fisheye_rig(40, 36), samples=samples, jitter=JitterCfg(lenses=3))
    scene = _painted(worlds(6, 30, seed=20 + samples))
    position, orientation = poses(6, seed=samples, tilt=0.5)
    given = (position.double().numpy(), orientation.double().numpy())
    look = draw_look(QUIET, scene)
    expected = color_reference.render(cfg, scene, *given, look, shadows)
    rig = Rig(cfg, scene.to(device), look=QUIET, shadows=shadows, threads=1)
    images = rig.render(position, orientation, scene.position)
    error = np.abs(images.rgb.cpu().numpy() - expected).max(2)
    assert {0, 1, 2} < set(images.label.unique().tolist()) and len(LABELS) == 7
    assert (error > 2.5).mean() < 1e-4, (error > 2.5).mean()
    assert np.median(error) < 0.51
