"""Every task under every physics preset that runs without a GPU: registered, built, stepped, finite."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import pytest

import mmnav_tasks

DRIVE = Path(__file__).with_name("drive.py")


@pytest.fixture(scope="module", params=["kinematic", "ovphysx"])
def driven(request, python):
    result = python(DRIVE, request.param, *mmnav_tasks.TASKS)
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [json.loads(line[4:]) for line in result.stdout.splitlines() if line.startswith("ENV ")]
    return {(row["task"], row["num_envs"]): row for row in rows}


@pytest.mark.integration
@pytest.mark.parametrize("num_envs", [1, 16])
@pytest.mark.parametrize("task", mmnav_tasks.TASKS)
def test_random_steps_are_finite_and_move_the_robot(driven, task, num_envs):
    row = driven[task, num_envs]
    assert row["finite"]
    assert row["shapes"] == {
        "panorama": [num_envs, 256, 6],
        "state": [num_envs, 20],
        "scan": [num_envs, 256],
        "privileged": [num_envs, 43],
    } | ({"rgb": [num_envs, 4, 3, 16, 24]} if num_envs > 1 else {})
    assert num_envs == 1 or row["contrast"] > 5.0
    assert row["terms"] == {"rewards": num_envs, "done": [num_envs]}
    assert row["way"] > 0.05


@pytest.mark.parametrize("task", mmnav_tasks.TASKS)
def test_tasks_are_registered_by_strings(task):
    """Listing the tasks must not import a simulator."""
    spec = gym.spec(f"Mmnav-{task}")
    assert all(isinstance(value, str) for value in spec.kwargs.values())
    assert isinstance(spec.entry_point, str)
