"""The machine that a benchmark ran on, and how its numbers are summed up."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mmnav.precision import native_precision


def spread(values: list[float]) -> dict:
    """Median, least, most, and all values in the order they were measured."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def machine(packages: Iterable[str]) -> dict:
    """The machine, how busy it is, and the versions of what is installed of the given packages."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": native_precision("cpu"),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "load_average": os.getloadavg(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def tell_machine(found: dict, torch_threads: int) -> None:
    """Prints the machine and the versions."""
    print(f"machine: {', '.join([found['cpu'], *found['gpus']])}, {found['cores']} cores,", end=" ")
    print(f"{found['instructions']}, multiplies in {found['precision']},", end=" ")
    print("load average before", *(f"{load:.1f}" for load in found["load_average"]), end=", ")
    print(f"{torch_threads} torch threads")
    print("versions:", ", ".join(f"{name} {number}" for name, number in found["versions"].items()))


def print_table(table: Table) -> None:
    """Prints a table, in full where the output is no terminal."""
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=140)).print(table)
