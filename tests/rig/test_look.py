"""Looks: drawn from each world's seed alone, within their ranges, and visible where they should be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmnav.rig import JitterCfg, LookCfg, Rig, RigCfg, fisheye_rig, plain_day, random_day
from mmnav.rig.look import draw_look
from mmnav.scenes import Kind, ReachCfg, generate

BALL = (Kind.SPHERE, (3.0, 0.0, 0.5), (0.5, 0.5, 0.5))


def _seen(rig: Rig, scene, envs: int = 1):
    position = torch.tensor([[0.0, 0.0, 0.25]]).repeat(envs, 1)
    return rig.render(position, torch.tensor([[0.0, 0.0, 0.0, 1.0]]).repeat(envs, 1), scene.position)


def test_a_look_depends_on_its_worlds_seed_alone():
    """Not on the batch, nor on the place in it."""
    scene = generate(ReachCfg(), np.array([5, 6, 7, 5]))
    look, alone = draw_look(random_day(), scene), draw_look(random_day(), scene[[2]])
    assert torch.equal(look.worlds[2], alone.worlds[0]) and torch.equal(look.paints[2], alone.paints[0])
    assert torch.equal(look.worlds[0], look.worlds[3]) and not torch.equal(look.worlds[0], look.worlds[1])


def test_noise_has_its_standard_deviation_and_is_new_in_every_frame(device, scene_of):
    scene = scene_of(BALL).to(device)
    quiet = plain_day()
    clean = _seen(Rig(fisheye_rig(64, 64), scene, look=quiet), scene).rgb.float()
    rig = Rig(fisheye_rig(64, 64), scene, look=replace(quiet, noise=(0.02, 0.02)))
    first, second = (_seen(rig, scene).rgb.float().clone() for _ in range(2))
    unclipped = (clean > 20) & (clean < 235)
    assert float((first - clean)[unclipped].std()) == pytest.approx(0.02 * 255, rel=0.05)
    assert abs(float((first - clean)[unclipped].mean())) < 0.2
    together = torch.corrcoef(torch.stack([(first - clean)[unclipped], (second - clean)[unclipped]]))[0, 1]
    assert abs(float(together)) < 0.03
    rig.reset()
    assert torch.equal(_seen(rig, scene).rgb.float(), first)  # frames count from a reset on


def test_fog_hides_what_is_far(device, scene_of):
    """In thick fog a far ball is as bright as the horizon; without, it is not."""
    far = (Kind.SPHERE, (15.0, 0.0, 0.5), (1.5, 1.5, 1.5))
    scene = scene_of(far).to(device)

    def contrast(fog: float) -> float:
        images = _seen(Rig(fisheye_rig(128, 128), scene, look=replace(plain_day(), fog=(fog, fog))), scene)
        rgb, label = images.rgb[0, 0].float(), images.label[0, 0]
        assert (label == 5).sum() > 20
        return float((rgb[:, label == 5].mean(1) - rgb[:, 60][:, label[60] == 0].mean(1)).abs().max())

    assert contrast(0.0) > 40.0 > 4.0 > contrast(0.45)


def test_a_wall_casts_a_shadow_away_from_the_sun(device, scene_of):
    """A low sun from the left: the ground right of the wall is dark, left of it is not."""
    scene = scene_of((Kind.BOX, (3.0, 0.0, 0.5), (1.0, 0.05, 0.5))).to(device)
    look = replace(plain_day(), sun_azimuth=(math.pi / 2,) * 2, sun_elevation=(0.7, 0.7), ground=(0.4, 0.4))
    lit, dark = (
        _seen(Rig(fisheye_rig(96, 96), scene, look=look, shadows=on), scene).rgb.clone() for on in (False, True)
    )
    change = (lit.float() - dark.float()).mean(2)[0, 0]
    assert change[50:, 50:].max() > 25 and change[50:, :46].max() < 3


def test_several_samples_hold_a_thin_stick_still(device, scene_of):
    """A stick a third of a pixel wide comes and goes as the robot turns; with four rays a pixel it does so less."""
    headings = torch.linspace(-0.3, 0.3, 200)
    stick = (Kind.CYLINDER, (3.0, 0.0, 0.8), (0.012, 0.012, 0.8))
    scene = scene_of(stick, env_count=200).to(device)
    scene.seed.zero_()
    turn = torch.stack([0 * headings, 0 * headings, (headings / 2).sin(), (headings / 2).cos()], -1)
    position = torch.tensor([[0.0, 0.0, 0.25]]).repeat(200, 1)
    seen = {}
    for samples in (1, 4):
        cfg = RigCfg(fisheye_rig(64, 64).cameras, 64, 64, samples=samples)
        label = Rig(cfg, scene, look=plain_day()).render(position, turn, scene.position).label[:, 0]
        seen[samples] = (label == 3).flatten(1).sum(1).float().cpu()
    assert (seen[1] == 0).sum() > 20 > 5 > (seen[4] == 0).sum()


def test_a_nan_stays_in_its_env_in_colour_too(device, worlds, poses):
    scene, (position, orientation) = worlds(6, 20, seed=2).to(device), poses(6, seed=2)
    expected = Rig(fisheye_rig(24, 24), scene, look=plain_day()).render(position, orientation, scene.position)
    position[3, 0] = float("nan")
    found = Rig(fisheye_rig(24, 24), scene, look=plain_day()).render(position, orientation, scene.position)
    others = [0, 1, 2, 4, 5]
    assert torch.equal(found.rgb[others], expected.rgb[others])
    assert (found.depth[3] == 20.0).all() and (found.label[3] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LookCfg(fog=(0.2, 0.1)), r"LookCfg\.fog is \(0\.2, 0\.1\); it must be finite and not run backwards"),
        (lambda: LookCfg(noise=(-0.1, 0.1)), r"LookCfg\.noise is \(-0\.1, 0\.1\); it must not be negative"),
        (lambda: LookCfg(shiny=1.5), r"LookCfg\.shiny is 1\.5; it is a share"),
        (lambda: JitterCfg(rotation=0.9), r"JitterCfg\.rotation is 0\.9; it must lie in \[0, 0\.5\)"),
        (lambda: JitterCfg(lenses=0), r"JitterCfg\.lenses is 0; it must lie between 1 and 256"),
        (lambda: replace(fisheye_rig(), samples=3), r"RigCfg\.samples is 3; it must be one of 1, 2, 4"),
    ],
)
def test_bad_ranges_name_field_and_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rig_without_a_look_renders_no_colour(scene_of):
    scene = scene_of(BALL)
    with pytest.raises(ValueError, match=r"Rig\.look is None"):
        _seen(Rig(fisheye_rig(16, 16), scene), scene)


def test_arguments_on_another_device_are_named(scene_of):
    scene = scene_of(BALL)
    rig = Rig(fisheye_rig(16, 16), scene)
    with pytest.raises(ValueError, match="robot_position is on meta; this rig's scene is on cpu"):
        rig.render_depth(torch.zeros(1, 3, device="meta"), torch.zeros(1, 4), scene.position)
