"""Sharding: weights that are cut up over processes while they learn (FSDP, ZeRO), whole wherever a student drives."""

from __future__ import annotations

import copy

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import broadcast
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.integrations import unset_hf_deepspeed_config

from ..errors import UserError


def cuts_up(accelerator: Accelerator) -> bool:
    """Whether weights are to be cut up, by FSDP 2 or DeepSpeed; transformers makes and loads whole models afterwards.

    Raises:
        UserError: If that is to be done in a way that leaves no process with a whole student to drive with.
    """
    kind, whole = accelerator.distributed_type, "it must be false, as every process drives with the whole student."
    if kind == DistributedType.DEEPSPEED and accelerator.state.deepspeed_plugin.zero3_init_flag:
        raise UserError(f"zero3_init_flag is true; {whole}")
    if kind == DistributedType.FSDP and accelerator.state.fsdp_plugin.fsdp_version != 2:
        raise UserError(f"fsdp_version is {accelerator.state.fsdp_plugin.fsdp_version}; it must be 2.")
    if kind == DistributedType.FSDP and accelerator.state.fsdp_plugin.cpu_ram_efficient_loading:
        raise UserError(f"fsdp_cpu_ram_efficient_loading is true; {whole}")
    unset_hf_deepspeed_config()
    return kind in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def computes_again(accelerator: Accelerator) -> bool:
    """Whether accelerate is to compute layers again for their gradients."""
    return (
        accelerator.distributed_type == DistributedType.FSDP and accelerator.state.fsdp_plugin.activation_checkpointing
    )


def copy_to_cut(model: nn.Module, accelerator: Accelerator, batch: int, max_grad_norm: float) -> nn.Module:
    """A copy of a model for accelerate to cut up; the model itself waits in the host's memory.

    Weights are gathered as they are, and autocast like anywhere else: shards compute what whole models compute.

    Args:
        model: The model.
        accelerator: What will cut it up; it is told how.
        batch: Samples of a micro-batch on a process.
        max_grad_norm: What gradients are scaled down to.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        bf16 = accelerator.mixed_precision == "bf16"
        accelerator.state.deepspeed_plugin.deepspeed_config.update(
            train_micro_batch_size_per_gpu=batch,
            train_batch_size=batch * accelerator.num_processes,
            gradient_clipping=max_grad_norm,
            bf16={"enabled": False},
            torch_autocast={"enabled": bf16, "dtype": "bfloat16"},
        )
    else:
        plugin = accelerator.state.fsdp_plugin
        plugin.auto_wrap_policy = transformer_auto_wrap_policy  # not that of the model before this one
        plugin.transformer_cls_names_to_wrap = sorted(_layers(model))
        plugin.mixed_precision_policy = MixedPrecisionPolicy()
    return copy.deepcopy(model.to("cpu"))


@torch.no_grad()
def put_together(shards: nn.Module, model: nn.Module, accelerator: Accelerator) -> None:
    """Gives a whole model, on every process, the weights that a cut-up copy has learned; moves it to the device."""
    model.to(accelerator.device)
    for whole, part in zip(model.parameters(), shards.parameters(), strict=True):
        if isinstance(part, DTensor):
            whole.copy_(part.full_tensor())
        else:
            import deepspeed  # is no dependency

            with deepspeed.zero.GatheredParameters([part]):
                whole.copy_(part)
    share_buffers(shards, model, accelerator)


@torch.no_grad()
def share_buffers(learned: nn.Module, model: nn.Module, accelerator: Accelerator) -> None:
    """Gives a model, on every process, the main one's buffers: batch norms have seen other samples on each."""
    for whole, part in zip(model.buffers(), learned.buffers(), strict=True):
        whole.copy_(broadcast(part.to(accelerator.device)))


def _layers(model: nn.Module) -> set[str]:
    """Names of the classes of the parts that transformers does not split.

    But those with batch norms, which would count twice what is computed again for the gradients.
    """
    known = {
        name for part in model.modules() if isinstance(part, PreTrainedModel) for name in part._no_split_modules or ()
    }
    layers = (part for part in model.modules() if type(part).__name__ in known)
    norm = nn.modules.batchnorm._BatchNorm
    return {type(layer).__name__ for layer in layers if not any(isinstance(part, norm) for part in layer.modules())}
