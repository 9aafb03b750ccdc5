"""Sight: the ring that a student reads off its views is the experts' panorama, wherever and whenever it looks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmnav.data.replay import panorama_rig, student_rig
from mmnav.rig import Panorama, Rig
from mmnav.rig.panorama import encode_panorama
from mmnav.robot import ROBOT
from mmnav.scenes import ReachCfg, generate
from mmnav.vla import make_student
from mmnav.vla.sight import _turned

pytestmark = pytest.mark.unit

AWAY = torch.tensor([4])
"""Channel of the estimate that tells how fast what a column shows moves away."""


@pytest.fixture(scope="module", params=["nano", "nano-siglip"])
def student(request):
    return make_student(request.param, seed=1)[0].eval()


def window(model, batch: int = 2) -> dict[str, torch.Tensor]:
    """Random features and commands."""
    config, generator = model.config, torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(batch, *shape, generator=generator)  # noqa: E731
    features = (config.view_count, 16, model.sight.depth.in_features)
    return {
        "current": draw(*features),
        "history": draw(len(config.history), *features),
        "history_mask": torch.ones(batch, len(config.history), dtype=torch.bool),
        "commands": draw(config.command_count, 3),
    }


def test_it_is_one_token_and_every_place_command_and_time_counts(student):
    given = window(student, 1)
    with torch.inference_mode():
        token, mask = student.sight(**given)
        assert token.shape == (1, 1, student.config.text_config.hidden_size) and mask.all()
        for name in ("current", "history"):
            middle = given[name].flatten(1, -3).shape[1]
            for place in range(middle):  # each view of each frame; its cells but the outermost, which others see too
                moved = given[name].clone()
                moved.flatten(1, -3)[:, place, 1:] *= -1.0
                assert (student.sight(**{**given, name: moved})[0] - token).abs().max() > 1e-6, (name, place)
        told = given["commands"].clone()
        told[:, 10] += 0.5
        assert (student.sight(**{**given, "commands": told})[0] - token).abs().max() > 1e-6
        absent = {**given, "history_mask": torch.zeros(1, 3, dtype=torch.bool)}
        other = {**absent, "history": absent["history"] + 1.0}
        assert torch.equal(student.sight(**absent)[0], student.sight(**other)[0])


def test_a_student_that_sees_ahead_only_has_a_ring_with_a_gap():
    model = make_student("nano", seed=1, view_count=1)[0].eval()
    given = window(model)
    rings = model.sight._rings(given["history"])
    quarter = rings.shape[-1] // 4
    assert rings[..., :quarter].any() and not rings[..., quarter:].any()
    assert (rings[:, :, -1, :quarter] == 1.0).all()
    given["mirrored"] = torch.tensor([True, False])
    with torch.inference_mode():
        seen = model.sight.panorama(**given)
        model.sight.read_depth, read = lambda features: read(features).flip(-1), model.sight.read_depth
        torch.testing.assert_close(model.sight.panorama(**given | {"mirrored": ~given["mirrored"]}), seen)


def test_a_column_that_no_view_saw_is_told_apart_from_one_that_was_a_metre_away(student):
    """Depth's code is 0 at a metre, and where nothing looked."""
    sight, given, heard = student.sight, window(student), []
    hook = sight.estimate.register_forward_pre_hook(lambda module, args: heard.append(args[0]))
    given["history_mask"][0, 1] = False
    sight.panorama(**given)
    hook.remove()
    there = heard[0][:, -5:-2]  # behind them, the bearings
    assert torch.equal(there, given["history_mask"][..., None].float().expand_as(there))


def test_a_student_without_a_history_has_a_panorama_too():
    model = make_student("nano", seed=1, history=[])[0].eval()
    assert model.sight.panorama(**window(model)).shape == (2, 176, 6)


def test_velocities_are_told_forward_and_leftward(student):
    """What moves away from the base moves forward in front of it, backward behind, leftward on its left."""
    sight, given = student.sight, window(student)
    hook = sight.estimate.register_forward_hook(lambda module, args, out: torch.zeros_like(out).index_fill_(1, AWAY, 1))
    velocity = sight.panorama(**given)[0, :, -2:]
    hook.remove()
    quarter = len(velocity) // 4
    middle = [round((i + 0.5) * quarter) for i in range(4)]  # front, right, back, left
    expected = torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(velocity[middle], expected, rtol=0.0, atol=0.05)


def test_rings_turn_with_the_base():
    ring = torch.arange(12.0).expand(1, 1, 1, 12)
    a_column = math.tau / 12
    turned_left = _turned(ring, torch.tensor([[-a_column]]))  # the heading before, seen from now
    assert torch.allclose(turned_left[0, 0, 0], torch.arange(12.0).roll(1))  # all moved one column to the right
    assert torch.allclose(_turned(ring, torch.tensor([[a_column / 4]]))[0, 0, 0, :11], torch.arange(11.0) + 0.25)
    assert torch.equal(_turned(ring, torch.tensor([[math.tau]])), ring)


def test_in_a_mirror_left_and_right_are_exchanged(student):
    sight, given = student.sight, window(student)
    mirrored = torch.tensor([True, False])
    views = sight.read_depth(torch.cat([given["current"][:, None], given["history"]], 1))
    depths = torch.where(mirrored.view(2, 1, 1, 1, 1), views[:, :, [0, 3, 2, 1]].flip(-1), views)
    with torch.inference_mode():
        seen = sight.panorama(**given, mirrored=mirrored)
        sight.read_depth = lambda features: depths
        try:
            torch.testing.assert_close(sight.panorama(**given), seen)
        finally:
            del sight.read_depth


@pytest.fixture(scope="module")
def worlds():
    """Scenes, and the poses of robots in their midst."""
    scene = generate(ReachCfg(), np.arange(24))
    position, orientation = scene.start_poses(ROBOT.center_height)
    return scene, position, orientation


def true_rings(model, scene, position, orientation) -> torch.Tensor:
    """The rings [E, rows, L] of a student that reads the true depth of every part of every cell."""
    rig = Rig(student_rig(model.config), scene)
    depth = rig.render_depth(position, orientation, scene.position)
    rows, columns = (a * b for a, b in zip(model.config.current_grid, (4, 8), strict=True))
    nearest = -F.adaptive_max_pool2d(-depth, (rows, columns))
    model.sight.read_depth = lambda features: nearest.log()[:, None]
    try:
        return model.sight._rings(None)[:, 0]
    finally:
        del model.sight.read_depth


def test_true_depth_makes_the_ring_that_the_experts_see(student, worlds):
    scene, position, orientation = worlds
    ring = true_rings(student, *worlds)
    panorama = Panorama(panorama_rig(student.config), scene, has_movers=False)
    free, still = panorama.look(position, orientation, scene.position, torch.zeros_like(scene.position))
    seen = encode_panorama(free, still)[..., 0]  # the highest row: obstacles, never the ground
    assert ring.shape[-1] == seen.shape[1] and not still.any()
    level = ring[:, student.config.current_grid[0] * 2 - 1]
    match = lambda shift: np.corrcoef(level.roll(shift, 1).flatten(), -seen.flatten())[0, 1]  # noqa: E731
    scores = {shift: match(shift) for shift in range(-12, 13)}
    assert max(scores, key=scores.get) == 0 and scores[0] > 0.7


def test_the_ring_of_a_turned_robot_turned_back_is_the_ring(student, worlds):
    scene, position, orientation = worlds
    angle = 0.6
    half = torch.tensor([0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2)])
    x, y, z, w = orientation.unbind(-1)
    turned = torch.stack([x, y, z * half[3] + w * half[2], w * half[3] - z * half[2]], -1)
    before, now = true_rings(student, scene, position, orientation), true_rings(student, scene, position, turned)
    back = _turned(before[:, None], torch.full((len(before), 1), -angle))[:, 0]
    row = student.config.current_grid[0] * 2 - 1
    error = lambda ring: (ring - now)[:, row].abs().median()  # noqa: E731
    assert error(back) < 0.3 * error(before)
