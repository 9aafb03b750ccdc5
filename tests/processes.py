"""Python processes for tests: one process holds one simulation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def python_environment(**more: str) -> dict[str, str]:
    """This process's environment with this checkout importable and one thread for torch, as tests share the machine."""
    paths = [str(ROOT / "source"), str(ROOT / "exts" / "mmnav"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"} | more


def run_python(*words: object, timeout: float = 600.0, **more: str) -> subprocess.CompletedProcess:
    """Runs Python with the given words in this checkout."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env=python_environment(**more),
    )
