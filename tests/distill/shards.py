"""Shards without a GPU: torch cuts up weights on CPUs as well, but accelerate asks for GPUs first."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

DEEPSPEED = importlib.util.find_spec("deepspeed") is not None


def sharding_environment(config: str) -> dict[str, str]:
    """What ``accelerate launch --config_file config/accelerate/CONFIG.yaml`` tells its processes, on CPUs."""
    path = Path(__file__).resolve().parents[2] / "config" / "accelerate" / f"{config}.yaml"
    words = ["--config_file", str(path), "script.py"]
    with mock.patch.dict(os.environ):
        args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
        args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        told = prepare_deepspeed_cmd_env(args)[1] if args.use_deepspeed else prepare_multi_gpu_env(args)
    told = {name: value for name, value in told.items() if name.startswith(("ACCELERATE_", "FSDP_"))}
    told["ACCELERATE_MIXED_PRECISION"] = "no"  # so that results can be compared closely
    return told | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}


def cpu_accelerator() -> Accelerator:
    """Processes of this program's environment, on CPUs; sharding if that says so."""
    state = PartialState(cpu=True)
    for word, kind in (("FSDP", DistributedType.MULTI_GPU), ("DEEPSPEED", DistributedType.DEEPSPEED)):
        if os.environ.get(f"ACCELERATE_USE_{word}") == "true":
            vars(state).update(distributed_type=kind, _cpu=False)
            return Accelerator()
    return Accelerator(cpu=True)


SHARDING = ["fsdp", pytest.param("zero3", marks=pytest.mark.skipif(not DEEPSPEED, reason="deepspeed is not installed"))]
"""Configurations that cut up weights."""


@contextmanager
def pretended(kind: DistributedType, **plugin: object) -> Iterator[Accelerator]:
    """A single process that is told it is one of many."""
    accelerator = Accelerator(cpu=True)
    told, before = vars(accelerator.state), dict(vars(accelerator.state))
    usual = {"fsdp_version": 2, "cpu_ram_efficient_loading": False, "zero3_init_flag": False}
    pretence = SimpleNamespace(**{**usual, **plugin})
    told |= {"distributed_type": kind, "fsdp_plugin": pretence, "deepspeed_plugins": pretence}
    try:
        yield accelerator
    finally:
        told.clear()
        told |= before
