"""Sight: the panorama that a student estimates has every frame in it, the right way round and in a mirror."""

from __future__ import annotations

import copy

import pytest
import torch

from mmnav.vla import make_student
from mmnav.vla.ring import mirror_ring
from mmnav.vla.sight import feature_dim

pytestmark = pytest.mark.unit

AWAY = torch.tensor([4])
"""Channel of the estimate that tells how fast what a column shows moves away."""


@pytest.fixture(scope="module", params=["nano", "nano-siglip"])
def student(request):
    return make_student(request.param, seed=1)[0].eval()


def window(model, batch: int = 2) -> dict[str, torch.Tensor]:
    """Random features and moves."""
    config, generator = model.config, torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(batch, *shape, generator=generator)  # noqa: E731
    features = (config.view_count, 16, feature_dim(config))
    return {
        "current": draw(*features),
        "history": draw(len(config.history), *features),
        "history_mask": torch.ones(batch, len(config.history), dtype=torch.bool),
        "moves": 0.05 * draw(len(config.history), 3),
    }


def test_it_is_one_token_and_every_place_move_and_time_counts(student):
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
        told = given["moves"].clone()
        told[:, 1, 2] += 0.5
        assert (student.sight(**{**given, "moves": told})[0] - token).abs().max() > 1e-6
        absent = {**given, "history_mask": torch.zeros(1, 3, dtype=torch.bool)}
        other = {**absent, "history": absent["history"] + 1.0}
        assert torch.equal(student.sight(**absent)[0], student.sight(**other)[0])


def test_a_student_that_sees_ahead_only_is_told_where_nobody_looked():
    model = make_student("nano", seed=1, view_count=1)[0].eval()
    given, heard = window(model), []
    given["current"][:] = 1.0  # 2.7 m everywhere
    hook = model.sight.estimate.register_forward_pre_hook(lambda module, args: heard.append(args[0]))
    model.sight.panorama(**given)
    hook.remove()
    seen = heard[0][0, 12]  # behind 8 rows and the obstacles of 4 frames
    quarter = len(seen) // 4
    assert set(seen.tolist()) == {0.0, 1.0} and seen[:quarter].all() and not seen[2 * quarter : 3 * quarter].any()


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


def test_in_a_mirror_left_and_right_are_exchanged(student):
    sight, given = student.sight, window(student)
    mirrored = torch.tensor([True, False])
    frames = torch.cat([given["current"][:, None], given["history"]], 1)
    views = sight._views(frames)
    other = torch.where(mirrored.view(2, 1, 1, 1, 1), views[:, :, [0, 3, 2, 1]].flip(-1), views)
    with torch.inference_mode():
        seen = sight.panorama(**given, mirrored=mirrored)
        sight._views = lambda features: other
        try:
            torch.testing.assert_close(sight.panorama(**given), seen)
        finally:
            del sight._views


def test_a_panorama_begins_as_what_the_ring_shows_and_so_does_its_mirror_image(student):
    """Without an estimate it is the nearest obstacle of every column, and nothing moves."""
    sight, given = copy.deepcopy(student.sight), window(student)
    torch.nn.init.zeros_(sight.estimate[-1].weight)
    with torch.inference_mode():
        seen = sight.panorama(**given)
        moves = given["moves"] * torch.tensor([1.0, -1.0, -1.0])
        other = sight.panorama(**{**given, "moves": moves}, mirrored=torch.ones(2, dtype=torch.bool))
    assert not seen[..., -2:].any() and (seen[..., 0] == seen[..., 3]).all()
    torch.testing.assert_close(other[..., :4], mirror_ring(seen, 1)[..., :4], rtol=0.0, atol=1e-4)


@pytest.fixture(scope="module")
def frames():
    """A sight of the paper's tokens: 16 a view now, 4 a view in each of two earlier frames."""
    shape = {"image_size": [64, 64], "current_grid": [4, 4], "history_grid": [2, 2], "history": [4, 2]}
    return make_student("nano", seed=1, panorama_channels=0, **shape)[0].eval()


def _tokens(model, **changes) -> torch.Tensor:
    """Frame by frame and view by view, a marker and the tokens of the cells: a list of [1 + P, D]."""
    views, features = model.config.view_count, feature_dim(model.config)
    given = {
        "current": torch.zeros(1, views, 16, features),
        "history": torch.zeros(1, 2, views, 4, features),
        "history_mask": torch.ones(1, 2, dtype=torch.bool),
    }
    tokens, there = model.sight(**{**given, **changes})
    assert tokens.shape[:2] == there.shape == (1, 2 * views * (1 + 4) + views * (1 + 16))
    return list(tokens[0].split([5] * 2 * views + [17] * views))


def test_a_frame_is_a_marker_and_a_token_for_every_cell_view_by_view(frames):
    """The history's frames come first; what a cell shows is told by its own token alone."""
    with torch.inference_mode():
        before = _tokens(frames)
        for name, shape, first in (("history", (1, 2, 4, 4), 0), ("current", (1, 4, 16), 8)):
            for place in range(torch.Size(shape[1:-1]).numel()):
                shown = torch.zeros(*shape, feature_dim(frames.config))
                shown.flatten(1, -3)[:, place, 2] = torch.randn(shown.shape[-1])
                after = _tokens(frames, **{name: shown})
                changed = [(a != b).any(-1).nonzero().flatten().tolist() for a, b in zip(after, before, strict=True)]
                assert changed == [[3] if i == first + place else [] for i in range(12)], (name, place)


def test_markers_views_and_times_are_told_apart(frames):
    """Of cells that show the same, tokens differ by what was learned of their view and their time."""
    sight = frames.sight
    with torch.inference_mode():
        parts = _tokens(frames)
        times, views = sight.time_embedding.weight, sight.view_embedding.weight
        for i, part in enumerate(parts):
            time, view = min(i // 4, 2), i % 4
            torch.testing.assert_close(part[0], sight.view_marker.weight[view] + times[time])
            plain = part[1] - times[time] - views[view]
            torch.testing.assert_close(part[1:] - times[time] - views[view], plain.expand(len(part) - 1, -1))
            torch.testing.assert_close(plain, parts[0][1] - times[0] - views[0], rtol=0.0, atol=1e-6)
        for place in (0, 1):
            assert len({tuple(part[place].tolist()) for part in parts}) == 12


def test_frames_that_were_not_there_are_marked(frames):
    given = {"history_mask": torch.tensor([[False, True]])}
    features = feature_dim(frames.config)
    shown = {"current": torch.zeros(1, 4, 16, features), "history": torch.zeros(1, 2, 4, 4, features)}
    with torch.inference_mode():
        _, there = frames.sight(**shown, **given)
    assert there[0].tolist() == [False] * 20 + [True] * (20 + 68)
