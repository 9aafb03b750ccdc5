"""A frozen tower looks at every frame once, and makes of it what it does when it drives."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from toy_robots import straight_drive

from mmnav.data import Frames, Replay
from mmnav.data.replay import look_seeds
from mmnav.distill.display import Display
from mmnav.distill.encoded import EncodedFrames
from mmnav.rig import plain_day
from mmnav.vla import make_student

pytestmark = pytest.mark.unit


class Counted:
    """A viewer that notes which steps it was asked for."""

    def __init__(self, viewer, asked: list[int]):
        self._viewer, self._asked = viewer, asked

    def view(self, frames, steps, looks):
        self._asked += steps.unique_consecutive().tolist()
        return self._viewer.view(frames, steps, looks)


@pytest.fixture
def seen():
    """Frames of two episodes, who sees them, what it makes of them, and which steps it asked for."""
    model, processor = make_student("nano", seed=1)
    frames, asked = Frames([straight_drive("Reach", 3), straight_drive("Avoid", 4, steps=30)]), []
    viewer = lambda batch: Counted(Replay(model.config.rig, plain_day(), batch), asked)  # noqa: E731
    made = EncodedFrames(frames, model.eval(), processor, viewer, 0, Accelerator(cpu=True), Display(quiet=True))
    return frames, model, processor, made, asked


def test_frames_that_come_later_are_looked_at_and_the_others_not_again(seen):
    frames, _, _, made, asked = seen
    first = made.features()
    assert asked == list(range(50)) and len(first) == 50
    frames.extend([straight_drive("Squeeze", 5)])
    more = made.features()
    assert asked == list(range(70)) and len(more) == 70
    assert torch.equal(more[:50], first)
    assert made.features() is more


def test_features_are_what_the_student_sees_when_it_drives(seen):
    """One frame after the other, as :meth:`MMNavForAction.act` does, in the same looks."""
    frames, model, processor, made, _ = seen
    replay, looks = Replay(model.config.rig, plain_day(), 1), look_seeds(np.arange(2), 0)
    for step in torch.tensor([0, 19, 20, 49]).split(1):
        images = processor.normalize(replay.view(frames, step, looks[frames.demo[step]]))
        with torch.inference_mode():
            alone = model.encode(images)[0]
        torch.testing.assert_close(made.features()[step[0]].float(), alone, rtol=2**-7, atol=1e-3)  # kept in bf16


@pytest.mark.parametrize("count", [1, 63, 65])
def test_batches_that_are_not_full_lose_nothing(count, seen):
    _, model, processor, _, _ = seen
    frames = Frames([straight_drive("Reach", 3, steps=count)])
    viewer = partial(Replay, model.config.rig, plain_day())
    made = EncodedFrames(frames, model, processor, viewer, 0, Accelerator(cpu=True), Display(quiet=True))
    assert len(made.features()) == count and made.features().flatten(1).any(1).all()
