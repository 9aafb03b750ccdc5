"""Runs Isaac Lab in processes of their own: one simulation a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_python(*words: object, timeout: float = 600.0, **env: str) -> subprocess.CompletedProcess:
    """Runs a Python script of this checkout with one thread for torch, as tests share the machine."""
    paths = [str(ROOT / "source"), str(ROOT / "exts" / "mmnav"), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"} | env,
    )


@pytest.fixture(scope="session")
def python():
    """:func:`run_python`."""
    return run_python
