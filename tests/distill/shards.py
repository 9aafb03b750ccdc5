"""Shards without a GPU: torch cuts up weights on CPUs as well, but accelerate asks for GPUs first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin, PartialState
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env


def sharding_environment() -> dict[str, str]:
    """What ``accelerate launch --config_file config/accelerate/fsdp.yaml`` tells its processes, on CPUs."""
    config = Path(__file__).resolve().parents[2] / "config" / "accelerate" / "fsdp.yaml"
    words = ["--config_file", str(config), "script.py"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    told = {name: value for name, value in prepare_multi_gpu_env(args).items() if os.environ.get(name) != value}
    told["ACCELERATE_MIXED_PRECISION"] = "no"  # so that results can be compared closely
    return told | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


def cpu_accelerator() -> Accelerator:
    """Processes of this program's environment, on CPUs; sharding if that says so."""
    PartialState(cpu=True)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    return Accelerator(cpu=True)


@contextmanager
def pretended(kind: DistributedType, **plugin: object) -> Iterator[Accelerator]:
    """A single process that is told it is one of many."""
    accelerator = Accelerator(cpu=True)
    told, before = vars(accelerator.state), dict(vars(accelerator.state))
    with mock.patch.dict(os.environ):  # the plugin writes there
        plugin = FullyShardedDataParallelPlugin(**{"cpu_ram_efficient_loading": False, **plugin})
        told |= {"distributed_type": kind, "fsdp_plugin": plugin}
        try:
            yield accelerator
        finally:
            told.clear()
            told |= before
