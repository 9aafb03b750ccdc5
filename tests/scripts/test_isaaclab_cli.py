"""Isaac Lab's own commands find the tasks by their entry point and train them."""

from __future__ import annotations

import subprocess

import pytest
from processes import ROOT, python_environment

import mmnav_tasks

pytestmark = [pytest.mark.smoke, pytest.mark.slow]


def isaaclab(folder, *words: str) -> str:
    """Runs isaaclab.sh in a folder, where its logs go; returns what it prints."""
    result = subprocess.run(
        [str(ROOT / "isaaclab.sh"), *words],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env=python_environment(),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_list_envs_shows_the_tasks(tmp_path):
    printed = isaaclab(tmp_path, "list_envs")
    assert all(f"Mmnav-{task}" in printed for task in mmnav_tasks.TASKS)


def test_isaaclab_train_trains_a_task(tmp_path):
    words = ("--task", "Mmnav-Squeeze", "--num_envs", "4", "--max_iterations", "1", "--device", "cpu")
    isaaclab(tmp_path, "train", "--rl_library", "rsl_rl", *words, "agent.device=cpu")
    assert list(tmp_path.glob("logs/rsl_rl/mmnav/*/model_*.pt"))
