"""Adapters learn in a language model's place, and become a part of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmnav.distill.adapters import low_rank
from mmnav.vla import make_student

pytestmark = pytest.mark.unit

TOKENS = torch.arange(12).view(2, 6)


@pytest.fixture
def model() -> nn.Module:
    return make_student("nano", seed=1)[0].language_model.eval()


def _states(model: nn.Module) -> torch.Tensor:
    return model(input_ids=TOKENS).last_hidden_state


def _learn(model: nn.Module) -> None:
    """A few steps towards states that are all 1."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(4):
        (_states(model) - 1.0).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_every_linear_layer_changes_by_a_matrix_of_the_rank_and_nothing_else(model):
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with low_rank(model, 3, seed=0):
        _learn(model)
        learned = _states(model)
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    linear = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    assert len(linear) == 14
    for name, weight in after.items():
        change = weight - before[name]
        rank = torch.linalg.matrix_rank(change, rtol=1e-4) if name in linear else change.abs().max()
        assert rank == (3 if name in linear else 0), name
    torch.testing.assert_close(_states(model), learned, rtol=0.0, atol=1e-5)
    assert not hasattr(model, "peft_config")


def test_adapters_begin_without_effect_and_as_their_seed_says(model):
    before, first = _states(model), []
    for seed in (0, 0, 1):
        with low_rank(model, 2, seed):
            assert torch.equal(_states(model), before)
            first.append(next(p for n, p in model.named_parameters() if "lora_A" in n).clone())
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def test_a_run_that_is_interrupted_leaves_the_model_as_it_was(model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    next(model.parameters()).requires_grad_(False)  # as somebody wanted it
    learns = [p.requires_grad for p in model.parameters()]
    with pytest.raises(KeyboardInterrupt), low_rank(model, 2, seed=0):
        _learn(model)
        raise KeyboardInterrupt
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == learns


def test_without_a_rank_all_weights_learn(model):
    with low_rank(model, 0, seed=0):
        assert all(p.requires_grad for p in model.parameters())
        assert not any("lora" in name for name, _ in model.named_parameters())
