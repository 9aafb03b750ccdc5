"""Measuring envs: each in a process of its own, which runs one round whenever it is asked for one.

Rounds of several processes can so take turns on one machine, and whatever slows the machine down for a while slows all
of them down.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from mmnav.errors import UserError

DEPTH_VIEWS = (16, 16)
"""Width and height of each of the four depth views that are measured [px]."""

OBSTACLES = 26
"""Obstacles asked for in every layout that is measured; four walls make them 30 primitives."""

WARM_UP_STEPS = 20
"""Steps before the first round: kernels are compiled, caches filled."""

BLOCK = 10
"""Steps between two looks at the clock."""

ROUND_SECONDS = 2.0
"""A round of stepping goes on for at least that long [s]."""

PACKAGES = ("isaaclab", "newton", "mujoco-warp", "warp-lang", "torch", "rsl-rl-lib")

Measurement = Iterator[dict]
"""Yields what it is about once it is ready, then one round's results at a time."""


def machine() -> dict:
    """The machine and the versions: what a reader needs to judge a number."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch_threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def stepping(env_count: int, device: str) -> Measurement:
    """Our task, stepped with random actions."""
    from .launch import running_env

    with running_env("Reach", _task(env_count, device)[0]) as env:
        count = (env.unwrapped.world.scene.kind != 0).sum(-1).float().mean()
        yield {"primitives": round(float(count), 1)}
        yield from _step_rounds(env.unwrapped)


def stock_stepping(env_count: int, device: str) -> Measurement:
    """The stock task, stepped with random actions."""
    from isaaclab.app import launch_simulation
    from isaaclab.envs import ManagerBasedRLEnv

    from .launch import simulator_words
    from .stock import OBSTACLES, RAY_COUNT, StockEnvCfg
