"""Prompts and images are what the paper and the image processor make of them."""

from __future__ import annotations

import pytest
import torch

from mmnav.vla import make_student

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def processor():
    return make_student("nano")[1]


def test_the_prompt_is_the_papers(processor):
    ids = processor(goals=torch.tensor([10.0, -0.001]))["input_ids"]
    assert ids.shape == (21,)
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == "Go to the position of <x:10.00, y:0.00>"


def test_every_digit_is_a_token(processor):
    tokens = processor.tokenizer.tokenize("Go to the position of <x:12.34, y:-56.78>")
    assert sum(any(c.isdigit() for c in token) for token in tokens) == 8
    assert all(sum(c.isdigit() for c in token) <= 1 for token in tokens)


def test_shorter_prompts_are_padded_on_the_left(processor):
    made = processor(goals=torch.tensor([[1.0, 2.0], [-10.0, -20.0]]))
    assert made["attention_mask"][0, 0] == 0
    assert made["attention_mask"][:, -1].tolist() == [1, 1]


def test_goals_keep_their_leading_shape(processor):
    made = processor(goals=torch.zeros(2, 5, 2))
    assert made["input_ids"].shape[:2] == (2, 5)


def test_images_of_the_right_size_are_normalised_as_the_image_processor_does(processor):
    images = torch.randint(0, 256, (2, 4, 3, 32, 128), dtype=torch.uint8)
    slow = processor.image_processor(list(images.flatten(0, 1)), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(processor.normalize(images).flatten(0, 1), slow, rtol=0.0, atol=1e-6)


def test_images_of_another_size_are_resized(processor):
    images = torch.full((2, 4, 3, 64, 256), 128, dtype=torch.uint8)
    assert processor.normalize(images).shape == (2, 4, 3, 32, 128)
