"""The last token's state and its gradients are those of the whole model, whoever computes the attention."""

from __future__ import annotations

import pytest
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from transformers import AutoConfig, AutoModel

from mmnav.vla.readout import CPU_ATTENTION, last_token_only

KINDS = ("qwen2", "llama", "qwen3", "gpt2")


def _model(kind: str, attention: str) -> torch.nn.Module:
    if kind == "gpt2":
        config = AutoConfig.for_model(kind, n_embd=32, n_layer=2, n_head=4, vocab_size=50)
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 50}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
        config = AutoConfig.for_model(kind, **sizes, **heads)
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    model.set_attn_implementation(attention)
    return model


def _last(model: torch.nn.Module, narrow: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The last token's state, and gradients of a function of it."""
    torch.manual_seed(1)
    embeddings = torch.randn(3, 9, 32, requires_grad=True)
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, :4] = 0
    mask[2, 2:5] = 0
    inputs = {"inputs_embeds": embeddings, "attention_mask": mask, "use_cache": False}
    model.zero_grad()
    if narrow:
        with last_token_only(model):
            state = model(**inputs).last_hidden_state[:, -1]
    else:
        state = model(**inputs).last_hidden_state[:, -1]
    state.square().sum().backward()
    return state, [embeddings.grad] + [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("attention", ["sdpa", "eager", CPU_ATTENTION])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_narrowed_last_layer_changes_neither_state_nor_gradient(kind, attention):
    model = _model(kind, attention)
    expected, ours = _last(_model(kind, "sdpa"), False), _last(model, True)
    torch.testing.assert_close(ours[0], expected[0], rtol=1e-5, atol=1e-6)
    assert len(ours[1]) == len(expected[1])
    for mine, theirs in zip(ours[1], expected[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_models_of_another_shape_run_in_full():
    model = _model("gpt2", "sdpa")
    torch.testing.assert_close(_last(model, True)[0], _last(model, False)[0])


def test_models_whose_last_layer_is_computed_again_for_its_gradients_run_in_full():
    model = _model("qwen2", "sdpa")
    expected = _last(model, False)
    model.layers[-1] = checkpoint_wrapper(model.layers[-1])  # as FSDP does it, not transformers
    state, gradients = _last(model, True)
    torch.testing.assert_close(state, expected[0], rtol=0, atol=0)
    for mine, theirs in zip(gradients, expected[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_afterwards_the_model_is_whole_again():
    model = _model("qwen2", CPU_ATTENTION)
    embeddings = torch.randn(2, 5, 32)
    before = model(inputs_embeds=embeddings).last_hidden_state
    with last_token_only(model):
        narrowed = model(inputs_embeds=embeddings).last_hidden_state
    torch.testing.assert_close(model(inputs_embeds=embeddings).last_hidden_state, before, rtol=0, atol=0)
    assert not torch.allclose(narrowed[:, 0], before[:, 0])
