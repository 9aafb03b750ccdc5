"""Training from the command line: it learns, survives kill -9, resumes exactly, and runs on two processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import ROOT, python_environment

TRAIN = ROOT / "scripts" / "train_expert.py"
SMALL = ("--task", "Reach", "--num_envs", "16", "--max_iterations", "4", "--evaluate_every", "2", "--seeds", "0")

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def run_of(logs: Path) -> Path:
    (run,) = (logs / "reach").iterdir()
    return run


@pytest.fixture(scope="module")
def uninterrupted(python, tmp_path_factory) -> Path:
    logs = tmp_path_factory.mktemp("whole")
    result = python(TRAIN, *SMALL, "--logs", logs)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Play it:" in result.stdout and str(run_of(logs) / "best") in result.stdout
    return run_of(logs)


def test_a_run_leaves_an_expert_curves_and_the_last_two_checkpoints(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    assert {"best", "model_2.pt", "model_4.pt", "isaaclab.log", "command.json"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    config = json.loads((uninterrupted / "best" / "config.json").read_text())
    assert config["task"] == "Reach" and config["training"]["validation"]["episodes"] == 16


def test_a_killed_run_goes_on_as_if_nothing_had_happened(python, uninterrupted, tmp_path):
    """Weights, optimiser, learning rate, randomness, layouts and curriculum are bit-equal to an uninterrupted run's."""
    process = subprocess.Popen(
        [sys.executable, str(TRAIN), *SMALL, "--logs", str(tmp_path)],
        cwd=ROOT,
        env=python_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("reach/*/model_2.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = run_of(tmp_path)
    assert not (run / "model_4.pt").exists()

    result = python(TRAIN, *SMALL, "--logs", tmp_path, "--checkpoint", "latest")
    assert result.returncode == 0, result.stderr[-3000:]
    a, b = (torch.load(folder / "model_4.pt", weights_only=True) for folder in (uninterrupted, run))
    for part in ("actor_state_dict", "critic_state_dict"):
        assert all(torch.equal(a[part][k], b[part][k]) for k in a[part])
    assert _flat(a["optimizer_state_dict"]) == _flat(b["optimizer_state_dict"])
    assert torch.equal(a["random"]["cpu"], b["random"]["cpu"])
    assert _flat(a["curriculum"]) == _flat(b["curriculum"])
    for part in ("iter", "next_layout", "common_step_counter", "best_success", "steps"):
        assert a[part] == b[part], part


def _flat(value) -> object:
    if isinstance(value, dict):
        return {k: _flat(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_flat(v) for v in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def test_a_finished_run_says_so(python, uninterrupted):
    result = python(TRAIN, *SMALL, "--logs", uninterrupted.parents[1], "--checkpoint", "latest")
    assert result.returncode == 2
    assert "has 4 iterations; ask for more with --max_iterations" in result.stderr


def test_two_processes_train_one_network_on_different_layouts(python):
    """Two gloo ranks on the CPU."""
    script = Path(__file__).with_name("two_ranks.py")
    result = python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(next(line[6:] for line in result.stdout.splitlines() if line.startswith("FOUND ")))
    assert found["weights"][0] == found["weights"][1]
    assert found["layouts"][0] != found["layouts"][1]
    assert found["iterations"] == [2, 2]


def test_a_short_training_beats_chance(python, tmp_path):
    """Random actions succeed on no Reach layout at full difficulty (0 of 500, scripts/evaluate.py)."""
    words = ("--task", "Reach", "--num_envs", "256", "--max_iterations", "60", "--evaluate_every", "60", "--seeds", "0")
    result = python(TRAIN, *words, "--logs", tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    config = json.loads((run_of(tmp_path) / "best" / "config.json").read_text())
    assert config["training"]["validation"]["SR_low"] > 0.2
