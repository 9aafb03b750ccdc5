"""Pretraining teaches the parts it names, and asks for nothing but the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_robots import straight_drive

from mmnav.data import Frames
from mmnav.distill.pretrain import DepthPretraining, PanoramaPretraining, PromptReading, depth_error
from mmnav.distill.samples import PanoramaSamples, StepDraw
from mmnav.vla import make_student
from mmnav.vla.ring import CELL

pytestmark = pytest.mark.unit

FAMILIES = ("Reach", "Squeeze", "Avoid")


@pytest.fixture(scope="module", params=[48, 0], ids=["panorama", "tokens"])
def student(request):
    return make_student("nano", seed=1, panorama_channels=request.param)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def depth_batch(model) -> dict[str, torch.Tensor]:
    height, width = model.config.image_size
    return {"pixel_values": draw(2, 4, 3, height, width), "depth": draw(2, 4, height, width).exp()}


def window_batch(model) -> dict[str, torch.Tensor]:
    count, frame = len(model.config.history), (model.config.view_count, 16, CELL[0] * CELL[1])
    return {
        "current": draw(2, *frame),
        "history": draw(2, count, *frame),
        "history_mask": torch.ones(2, count, dtype=torch.bool),
        "moves": draw(2, len(model.config.look_back), 3),
        "mirrored": torch.tensor([False, True]),
    }


def estimate(model, moves: torch.Tensor, **window: torch.Tensor) -> torch.Tensor:
    """The panorama of windows."""
    return model.sight.panorama(moves=moves[:, : len(model.config.history)], **window).detach()


def learned(model, pretraining, batch: dict[str, torch.Tensor]) -> set[str]:
    """Names of the weights that a step of pretraining would change."""
    model.zero_grad()
    with pretraining.only_parts_learn():
        pretraining(**batch).loss.backward()
    return {name for name, weight in model.named_parameters() if weight.grad is not None}


def test_each_pretraining_teaches_its_parts_and_leaves_the_rest_as_it_was(student):
    model, processor = student
    free = {name for name, weight in model.named_parameters() if weight.requires_grad}
    prompts = {**processor(goals=draw(2, 2)), "goal": draw(2, 2)}
    found = learned(model, PromptReading(model), prompts)
    assert {name.split(".")[0] for name in found} == {"language_model", "action_query"}
    found = learned(model, DepthPretraining(model), depth_batch(model))
    parts = ("vision_tower.", "sight.reader.")
    assert found == {name for name, _ in model.named_parameters() if name.startswith(parts)}
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == free


def test_a_tower_that_was_given_is_read_and_not_taught():
    model, _ = make_student("nano", seed=1)
    model.freeze_tower()
    model.pretrained = frozenset({"vision_tower"})
    found = learned(model, DepthPretraining(model), depth_batch(model))
    assert found == {"sight.reader.weight", "sight.reader.bias"}


def test_the_panoramas_pretraining_teaches_its_estimate():
    model, _ = make_student("nano", seed=1)
    batch = window_batch(model)
    batch["panorama"] = estimate(model, **batch) + 1.0
    assert learned(model, PanoramaPretraining(model), batch) == {
        name for name, _ in model.named_parameters() if name.startswith("sight.estimate.")
    }


def test_a_student_that_cannot_be_mirrored_learns_its_panorama_too():
    """With views to one side alone, samples are never mirrored, and nothing is told of it."""
    model, processor = make_student("nano", seed=1, view_count=2)
    frames = Frames([straight_drive(family, 3) for family in FAMILIES])
    draw = StepDraw(frames, FAMILIES, [1 / 3] * 3, seed=0)
    features = torch.randn(len(frames), 2, 16, 32)
    batch = PanoramaSamples(frames, features, draw, processor, model.config).batch(np.arange(4))
    assert "mirrored" not in batch
    assert PanoramaPretraining(model)(**batch).loss > 0.0


def test_the_truth_costs_nothing_and_every_channel_of_an_error_something():
    model, _ = make_student("nano", seed=1)
    batch = window_batch(model)
    pretraining, guess = PanoramaPretraining(model), estimate(model, **batch)
    assert pretraining(**batch, panorama=guess).loss == 0.0
    for channel in range(guess.shape[-1]):
        other = guess.clone()
        other[..., channel] += 0.5
        assert pretraining(**batch, panorama=other).loss > 0.01, channel
    swapped = guess[..., [0, 1, 2, 3, 5, 4]]  # forward for leftward
    assert pretraining(**batch, panorama=swapped).loss > 0.01


def test_a_cells_depths_are_learned_where_they_are():
    """A reading that says the nearest depth of every part of every cell has no error."""
    model, _ = make_student("nano", seed=1)
    batch = depth_batch(model)
    rows, columns = (a * b for a, b in zip(model.config.current_grid, CELL, strict=True))
    height, width = batch["depth"].shape[-2:]
    parts = batch["depth"].unflatten(3, (columns, width // columns)).unflatten(2, (rows, height // rows))
    nearest = parts.amin((3, 5)).clamp(0.05, 10.0).log()  # [B, V, rows, columns]
    cells = nearest.unflatten(3, (-1, CELL[1])).unflatten(2, (-1, CELL[0])).transpose(3, 4)
    truth = cells.flatten(4).flatten(2, 3)
    assert depth_error(truth, batch["depth"], model.config) == 0.0
    assert torch.equal(model.sight._views(truth), nearest)
