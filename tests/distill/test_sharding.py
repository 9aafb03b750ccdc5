"""What cuts up weights gives them back whole, or is refused before anything begins."""

from __future__ import annotations

import pytest
from accelerate import Accelerator, DistributedType
from shards import pretended
from torch import nn

from mmnav.distill.sharding import copy_to_cut, cuts_up
from mmnav.errors import UserError
from mmnav.vla import make_student

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("kind", "plugin", "why"),
    [
        (DistributedType.DEEPSPEED, {"zero3_init_flag": True}, "zero3_init_flag is true; it must be false"),
        (DistributedType.FSDP, {"fsdp_version": 1}, "fsdp_version is 1; it must be 2"),
        (DistributedType.FSDP, {"cpu_ram_efficient_loading": True}, "ram_efficient_loading is true; it must be false"),
    ],
)
def test_what_leaves_no_whole_student_is_refused(kind, plugin, why):
    with pretended(kind, **plugin) as accelerator, pytest.raises(UserError, match=why):
        cuts_up(accelerator)


def test_weights_are_cut_up_by_fsdp_and_deepspeed_alone():
    assert not cuts_up(Accelerator(cpu=True))
    for kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        with pretended(kind) as accelerator:
            assert cuts_up(accelerator)


@pytest.mark.parametrize(
    ("scale", "layers"),
    [
        ("nano", ["Qwen2DecoderLayer"]),
        ("nano-siglip", ["Qwen2DecoderLayer", "SiglipEncoderLayer", "SiglipVisionEmbeddings"]),
    ],
)
def test_every_model_is_cut_where_transformers_would_cut_it(scale, layers):
    """Whatever was cut before it, and in whatever lesson it is; a ResNet, with its batch norms, is left whole."""
    with pretended(DistributedType.FSDP) as accelerator:
        copy_to_cut(nn.Linear(2, 2), accelerator, 4, 1.0)
        assert accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap == []
        copy_to_cut(nn.ModuleList([make_student(scale)[0]]), accelerator, 4, 1.0)
        assert accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap == layers


def test_deepspeed_is_told_the_batch_of_every_lesson():
    """Its three numbers must agree: batch = micro-batch x accumulation x processes."""
    told = {"gradient_accumulation_steps": 1}
    with pretended(DistributedType.DEEPSPEED, deepspeed_config=told) as accelerator:
        for batch in (32, 64):
            copy_to_cut(nn.Linear(2, 2), accelerator, batch, 1.0)
            assert told["train_micro_batch_size_per_gpu"] == told["train_batch_size"] == batch
