"""Adapters: a pretrained language model that learns by small additions to its matrices (LoRA, arXiv 2106.09685)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn


@contextmanager
def low_rank(language_model: nn.Module, rank: int, seed: int) -> Iterator[None]:
    """Inside, adapters of a rank learn in place of a language model's weights; afterwards they are part of these.

    All of its linear layers have one, scaled by 1. Nothing changes if the rank is 0, or if an exception ends it.

    Args:
        language_model: It; its modules are replaced in place.
        rank: Rank of the additions.
        seed: Of the adapters' first weights, whose product is 0.
    """
    if not rank:
        yield
        return
    learned = {name for name, weight in language_model.named_parameters() if weight.requires_grad}
    with torch.random.fork_rng(devices=[]):  # peft draws on the CPU
        torch.manual_seed(seed)
        cfg = LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear")
        inject_adapter_in_model(cfg, language_model)
    done = False
    try:
        yield
        done = True
    finally:
        _take_out(language_model, merge=done)
        for name, weight in language_model.named_parameters():
            weight.requires_grad_(name in learned)


def _take_out(model: nn.Module, merge: bool) -> None:
    """Puts the layers back that adapters had wrapped, with or without what these have learned."""
    del model.peft_config  # peft would warn of it at the next injection
    for name, layer in [(name, part) for name, part in model.named_modules() if isinstance(part, LoraLayer)]:
        if merge:
            layer.merge()
        model.set_submodule(name, layer.get_base_layer())
