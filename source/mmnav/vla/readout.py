"""Read-out: a language model run for the state of its last token alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

CPU_ATTENTION = "mmnav_cpu"
"""Attention that is quicker than torch's fused one where the arithmetic is bf16 on a CPU."""


@contextmanager
def last_token_only(language_model: nn.Module) -> Iterator[None]:
    """Spares the last layer what nobody reads: only the last token attends there and passes its feed-forward.

    The last token's state stays what it was; the others' are meaningless. That is a third of the work of a model of two
    layers. Models whose layers are not of Llama's shape (``self_attn.o_proj``, ``mlp``: Qwen, Mistral, ...), and those
    that compute layers again in the backward pass, run in full.
    """
    last = language_model.layers[-1] if hasattr(language_model, "layers") else None
    attention, mlp = getattr(last, "self_attn", None), getattr(last, "mlp", None)
    computed_again = language_model.is_gradient_checkpointing or isinstance(last, CheckpointWrapper)
    if not hasattr(attention, "o_proj") or mlp is None or computed_again:
        yield
        return
    # the residual additions broadcast the last token's result over the others
    hooks = [part.register_forward_pre_hook(_narrow) for part in (attention.o_proj, mlp)]
    attention.last_token_only = True
    try:
        yield
    finally:
        attention.last_token_only = False
        for hook in hooks:
            hook.remove()


def _narrow(module: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """The last token of a module's input."""
    return (args[0][:, -1:],)


def _cpu_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **_):
    """Plain attention, in the shapes of transformers' ``AttentionInterface``."""
    length = query.shape[2]
    if getattr(module, "last_token_only", False):
        query = query[:, :, -1:]
        attention_mask = None if attention_mask is None else attention_mask[:, :, -1:]
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    weights = (query * scaling) @ key.transpose(2, 3)
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.dropout(weights.softmax(-1, dtype=torch.float32).to(query.dtype), dropout, module.training)
    mixed = (weights @ value).transpose(1, 2)  # (B, 1 or S, H, D)
    return mixed.expand(-1, length, -1, -1), None


AttentionInterface.register(CPU_ATTENTION, _cpu_attention)
AttentionMaskInterface.register(CPU_ATTENTION, eager_mask)
