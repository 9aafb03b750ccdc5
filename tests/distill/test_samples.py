"""Samples are functions of their numbers, keep to their episodes and to their capabilities' shares."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from toy_robots import straight_drive

from mmnav.data import Frames, Replay
from mmnav.data.replay import PanoramaReplay, panorama_rig
from mmnav.distill.samples import (
    ChunkSamples,
    DepthSamples,
    PanoramaSamples,
    PromptSamples,
    StepDraw,
    WindowSamples,
)
from mmnav.errors import UserError
from mmnav.rig import plain_day
from mmnav.vla import make_student
from mmnav.vla.odometry import advance, seen_from

pytestmark = pytest.mark.unit

FAMILIES = ("Reach", "Squeeze", "Avoid")
NUMBERS = np.arange(40, 46)


@pytest.fixture(scope="module")
def student():
    model, processor = make_student("nano", seed=1)
    return model.eval(), processor


@pytest.fixture(scope="module")
def tokens():
    """A student that pools its history and knows no mirror."""
    model, processor = make_student("nano", seed=1, panorama_channels=0, history_grid=[1, 4])
    return model.eval(), processor


@pytest.fixture(scope="module")
def frames() -> Frames:
    return Frames(
        [
            straight_drive(family, layout, steps=14 + i)
            for i, (family, layout) in enumerate((family, layout) for layout in (3, 4) for family in FAMILIES)
        ]
    )


def test_capabilities_have_their_shares_and_steps_are_spread_evenly(frames):
    draw = StepDraw(frames, FAMILIES, [0.2, 0.5, 0.3], seed=1)
    steps = draw(np.arange(20_000))
    share = torch.bincount(frames.family_index(FAMILIES)[steps], minlength=3) / 20_000
    assert share.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.015)
    squeeze = torch.bincount(steps, minlength=len(frames))[frames.family_index(FAMILIES) == 1]
    assert squeeze.min() > 0.6 * squeeze.float().mean()


def test_demonstrations_have_their_share_of_every_capability(frames):
    first = int((frames.demo < 3).sum())
    draw = StepDraw(frames, FAMILIES, [0.2, 0.5, 0.3], seed=1, demo_steps=first, demo_share=0.25)
    steps = draw(np.arange(20_000))
    family = frames.family_index(FAMILIES)[steps]
    for index, share in enumerate((0.2, 0.5, 0.3)):
        mine = steps[family == index]
        assert len(mine) / 20_000 == pytest.approx(share, abs=0.015)
        assert float((mine < first).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert (
        StepDraw(frames, FAMILIES, [1.0, 1.0, 1.0], seed=1, demo_steps=first, demo_share=0.0)(NUMBERS) >= first
    ).all()
    with pytest.raises(UserError, match="no step of Reach by the student"):
        StepDraw(frames, FAMILIES, [1.0, 1.0, 1.0], seed=1, demo_steps=len(frames), demo_share=0.5)


def test_a_draw_depends_on_its_number_and_the_seed_alone(frames):
    draw = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=1)
    together, apart = draw(NUMBERS), torch.cat([draw(NUMBERS[i : i + 1]) for i in range(6)])
    assert torch.equal(together, apart)
    assert not torch.equal(StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=2)(np.arange(200)), draw(np.arange(200)))


def test_a_capability_without_a_step_is_named(frames):
    with pytest.raises(UserError, match="no step of Avoid"):
        StepDraw(Frames([straight_drive("Reach", 1), straight_drive("Squeeze", 1)]), FAMILIES, [1 / 3] * 3, seed=0)


def test_a_window_holds_the_frames_of_its_own_episode_that_many_steps_ago(frames, student):
    model, processor = student
    index = torch.arange(len(frames), dtype=torch.float32)
    features = index.view(-1, 1, 1, 1).expand(-1, 4, 16, 8).contiguous()  # every feature says which step it is of
    draw = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=1)
    batch = WindowSamples(frames, features, draw, processor, model.config).batch(np.arange(300))
    now = draw(np.arange(300))
    assert torch.equal(batch["current"][:, 0, 0, 0], now.float())
    ago = torch.tensor(model.config.history)
    there = now[:, None] - ago >= frames.start[now][:, None]
    assert torch.equal(batch["history_mask"], there)
    seen = batch["history"][:, :, 0, 0, 0]
    assert torch.equal(seen[there], (now[:, None] - ago).float()[there])
    assert not there.all() and there.any()
    mirrored = batch["mirrored"]
    assert 0.3 < mirrored.float().mean() < 0.7
    signs = torch.where(mirrored, torch.tensor([1.0, -1.0, -1.0]), torch.ones(3))
    assert torch.equal(batch["labels"][:, 0], frames.arrays["expert_action"][now] * signs)
    assert torch.equal(batch["command"][:, 0], frames.command(now) * signs)
    assert torch.equal(batch["moves"][:, 0], frames.moves(now, model.config.look_back) * signs[:, None])
    goals = frames.arrays["goal"][now] * signs[:, :2]
    assert torch.equal(batch["input_ids"][:, 0], processor(goals=goals)["input_ids"])


def test_frames_as_tokens_are_pooled_and_never_mirrored(frames, tokens):
    model, processor = tokens
    features = torch.randn(len(frames), 4, 16, 8, generator=torch.Generator().manual_seed(0))
    draw = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=1)
    batch = WindowSamples(frames, features, draw, processor, model.config).batch(NUMBERS)
    now, ago = draw(NUMBERS), torch.tensor(model.config.history)
    there = batch["history_mask"]
    cells = features.view(-1, 4, 2, 4, 2, 8).mean((2, 4))  # 2 rows of 8 columns become 1 of 4
    torch.testing.assert_close(batch["history"][there], cells[(now[:, None] - ago).clamp(min=0)][there])
    assert "mirrored" not in batch
    assert torch.equal(batch["labels"][:, 0], frames.arrays["expert_action"][now])


def test_a_command_is_that_of_the_step_before_and_none_before_the_first(frames):
    action, start = frames.arrays["action"], frames.start
    for step, told in enumerate(frames.command(torch.arange(len(frames)))):
        assert torch.equal(told, action[step - 1] if step > start[step] else torch.zeros(3)), step


def test_moves_lead_back_by_what_was_commanded_in_the_same_episode(frames):
    """An odometer that is driven online, episode by episode, says the same."""
    ago = (7, 3, 1)
    moves = frames.moves(torch.arange(len(frames)), ago)
    for episode in range(len(frames.families)):
        steps = (frames.demo == episode).nonzero().flatten()
        pose = velocity = torch.zeros(1, 3)
        poses = []
        for step in steps:
            poses.append(pose)
            pose, velocity = advance(pose, velocity, frames.arrays["action"][step][None], 0.1)
        for i, step in enumerate(steps):
            before = torch.cat([poses[max(i - back, 0)] for back in ago])
            expected = seen_from(poses[i].expand_as(before), before)
            torch.testing.assert_close(moves[step], expected, rtol=0.0, atol=1e-5)


def test_a_panorama_belongs_to_the_frames_and_moves_of_its_window_in_the_same_mirror(frames, student):
    model, processor = student
    draw, config, count = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=1), model.config, 50
    features = torch.arange(len(frames)).view(-1, 1, 1, 1)
    batch, same = (
        kind(frames, features, draw, processor, config).batch(np.arange(count))
        for kind in (PanoramaSamples, WindowSamples)
    )
    now, mirrored = draw(np.arange(count)), batch["mirrored"]
    assert torch.equal(batch["current"].flatten(), now)
    for name in ("current", "history", "history_mask", "moves", "mirrored"):
        assert torch.equal(batch[name], same[name].view(batch[name].shape)), name
    seen = PanoramaReplay(panorama_rig(config), count).look(frames, now)
    quarter = seen.shape[1] // 4
    other = seen.flip(1).roll(quarter, 1) * torch.tensor([1.0] * 5 + [-1.0])  # in front, left, behind, right
    assert torch.equal(batch["panorama"], torch.where(mirrored[:, None, None], other, seen))
    assert mirrored.any() and not mirrored.all() and torch.equal(other[:, :quarter, :4].flip(1), seen[:, :quarter, :4])


@pytest.mark.parametrize("kind", ["student", "tokens"])
def test_chunks_and_windows_teach_the_same(frames, kind, request):
    model, processor = request.getfixturevalue(kind)
    rig, look = model.config.rig, plain_day()
    draw = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=1)
    chunks = ChunkSamples(frames, draw, partial(Replay, rig, look), processor, model.config, targets=1, seed=0).batch(
        NUMBERS
    )
    replay = Replay(rig, look, len(frames))
    with torch.inference_mode():
        whole = model(**chunks)
        seeds = torch.arange(len(frames.families))[frames.demo] + 1
        features = model.encode(processor.normalize(replay.render(frames, torch.arange(len(frames)), seeds).rgb))
        windows = WindowSamples(frames, features, draw, processor, model.config).batch(NUMBERS)
        other = model(**windows)
    assert torch.equal(chunks["labels"], windows["labels"])
    assert torch.equal(chunks["command"], windows["command"]) and torch.equal(chunks["moves"], windows["moves"])
    assert torch.equal(chunks["frame_mask"][:, -1], torch.ones(6, dtype=torch.bool))
    # paint is drawn by other seeds here, so that velocities are close and not equal
    assert (whole.velocity - other.velocity).abs().max() < 0.05


def test_a_chunks_targets_lie_in_one_episode(frames, student):
    model, processor = student
    rig, look = model.config.rig, plain_day()
    draw = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=1)
    chunk = ChunkSamples(frames, draw, partial(Replay, rig, look), processor, model.config, targets=4, seed=0)
    batch = chunk.batch(NUMBERS)
    assert batch["labels"].shape == (6, 4, 3)
    assert batch["frame_mask"][:, -4:].all()
    signs = torch.where(batch["mirrored"][..., None], torch.tensor([1.0, -1.0, -1.0]), torch.ones(3))
    labels = batch["labels"] * signs
    assert batch["mirrored"].any() and not batch["mirrored"].all()
    known = {tuple(np.round(action, 4)) for action in frames.arrays["expert_action"].numpy().tolist()}
    assert all(tuple(np.round(action, 4)) in known for action in labels.flatten(0, 1).numpy().tolist())
    assert ((labels[:, 1:, 0] - labels[:, :-1, 0]).abs() > 1e-6).all()  # four different steps


def test_samples_of_equal_numbers_are_equal_and_others_look_different(frames, student):
    model, processor = student
    rig, look = model.config.rig, plain_day()
    draw = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=1)
    make = lambda: DepthSamples(frames, draw, rig, look, processor, seed=0)  # noqa: E731
    first, again = make().batch(NUMBERS), make().batch(NUMBERS)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["depth"].shape == (6, 4, 32, 128)
    assert not torch.equal(make().batch(NUMBERS + 6)["pixel_values"], first["pixel_values"])


def test_prompts_say_where_their_goals_are(student):
    _, processor = student
    batch = PromptSamples(processor, seed=0).batch(np.arange(50))
    told = [processor.tokenizer.decode(ids, skip_special_tokens=True) for ids in batch["input_ids"]]
    for text, (x, y) in zip(told, batch["goal"].tolist(), strict=True):
        assert f"<x:{x:.2f}, y:{y:.2f}>".replace("-0.00", "0.00") == text[text.index("<") :].replace("-0.00", "0.00")
