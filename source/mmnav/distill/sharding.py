"""Sharding: weights that are cut up over processes while they learn (FSDP), and whole wherever a student drives."""

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

from ..errors import UserError


def cuts_up(accelerator: Accelerator) -> bool:
    """Whether weights are to be cut up.

    Raises:
        UserError: If that is to be done in a way that leaves no process with a whole student to drive with.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise UserError("DeepSpeed keeps its shards to itself, and every process drives with the whole student; use "
                        "config/accelerate/fsdp.yaml, which cuts up as much as ZeRO-3.")  # fmt: skip
    if accelerator.distributed_type != DistributedType.FSDP:
        return False
    plugin = accelerator.state.fsdp_plugin
    if plugin.fsdp_version != 2:
        raise UserError(f"fsdp_version is {plugin.fsdp_version}; it must be 2.")
    if plugin.cpu_ram_efficient_loading:
        raise UserError("fsdp_cpu_ram_efficient_loading is true; it must be false, as every process loads the student.")
    return True


def copy_to_cut(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """A copy of a model that accelerate will cut up, layer by layer; the model itself waits in the host's memory.

    Weights are gathered as they are, and autocast like anywhere else: shards compute what whole models compute.
    """
    plugin = accelerator.state.fsdp_plugin
    plugin.auto_wrap_policy = transformer_auto_wrap_policy  # of the model before this one, if there was one
    plugin.transformer_cls_names_to_wrap = sorted(_layers(model))
    plugin.mixed_precision_policy = MixedPrecisionPolicy()
    return copy.deepcopy(model.to("cpu"))


def put_together(shards: nn.Module, model: nn.Module, device: torch.device) -> None:
    """Gives a whole model, on every process, the weights that a cut-up copy has learned; moves it to a device."""
    parts = shards.state_dict()
    for name, whole in model.to(device).state_dict().items():
        part = parts[name]
        whole.copy_(part.full_tensor() if isinstance(part, DTensor) else broadcast(part.to(device)))


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
