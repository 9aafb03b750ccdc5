"""Bad input gets one clear line that names the word and what would be right, exit code 2, and overwrites nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from processes import ROOT, python_environment

pytestmark = pytest.mark.smoke

TRAIN, EVALUATE, PLAY = "scripts/train_expert.py", "scripts/evaluate.py", "scripts/play.py"
DISTILL = "scripts/distill.py"
EVALUATION = (EVALUATE, "--policy", "random", "--out", "{tmp}/out")

CASES = [
    ((TRAIN, "--task", "Sqeeze"), "unknown task 'Sqeeze'; there are Reach, Squeeze, Avoid. Did you mean Squeeze?"),
    ((TRAIN, "--task", "Mixed"), "unknown task 'Mixed'"),
    ((TRAIN, "--task", "Reach", "--num_envs", "0"), "--num_envs must be at least 1, not 0"),
    ((TRAIN, "--task", "Reach", "--device", "tpu9"), "--device 'tpu9'"),
    ((TRAIN, "--task", "Reach", "--device", "cuda:99"), "CUDA devices"),
    ((TRAIN, "--task", "Reach", "--physics", "bullet"), "unknown physics 'bullet'; there are kinematic, ovphysx"),
    ((TRAIN, "--task", "Reach", "--checkpoint", "latest", "--logs", "{tmp}"), "no checkpoint found"),
    ((TRAIN, "--task", "Reach", "--checkpoint", "{tmp}/none.pt", "--logs", "{tmp}"), "no checkpoint found"),
    ((TRAIN, "--task", "Reach", "--checkpoint", "{tmp}/garbage.pt", "--logs", "{tmp}"), "cannot be read"),
    ((TRAIN, "--task", "Reach", "--checkpoint", "{tmp}/other.pt", "--logs", "{tmp}"), "trained on Avoid, not on Reach"),
    ((TRAIN, "--task", "Reach", "--checkpoint", "{tmp}/evil.pt", "--logs", "{tmp}"), "cannot be read"),
    ((TRAIN, "--task", "Reach", "--logs", "/dev/null/logs"), "--logs /dev/null/logs/reach: cannot write there"),
    ((TRAIN, "--task", "Reach", "--max_itertions", "3"), "unknown words"),
    ((TRAIN, "--task", "Reach", "env.rewards.progres.weight=1", "--logs", "{tmp}"), "do not fit the task Reach"),
    ((TRAIN, "--task", "Reach", "--distributed"), "--distributed wants torchrun"),
    ((*EVALUATION, "--task", "Swim"), "unknown task 'Swim'"),
    ((*EVALUATION, "--task", "Reach", "--episodes", "0"), "--episodes must be at least 1"),
    ((EVALUATE, "--policy", "{tmp}", "--task", "Reach", "--out", "{tmp}/out"), "no expert there"),
    ((EVALUATE, "--policy", "{tmp}/broken", "--task", "Reach", "--out", "{tmp}/out"), "the expert cannot be read"),
    ((EVALUATE, "--policy", "random", "--task", "Reach", "--out", "{tmp}/full"), "holds results already"),
    ((EVALUATE, "--policy", "random", "--task", "Reach", "--out", "/dev/null/out"), "cannot write there"),
    ((PLAY, "--task", "Reach", "--policy", "random", "--video", "film.gif"), "must end with .mp4"),
    ((PLAY, "--task", "Reach", "--policy", "random", "--video", "{tmp}/film.mp4"), "is there already; say --overwrite"),
    ((DISTILL, "--scale", "nanno", "--out", "{tmp}/run"), "unknown scale 'nanno'; there are nano"),
    ((DISTILL, "--scale", "full", "--out", "{tmp}/run"), "--scale full needs --vision"),
    ((DISTILL, "--lora-rank", "8", "--out", "{tmp}/run"), "lora_rank is 8; it must be 0 unless --language"),
    ((DISTILL, "--settings", "{tmp}/none.yaml", "--out", "{tmp}/run"), "none.yaml: there is no such file"),
    ((DISTILL, "--experts", "{tmp}/full", "--out", "{tmp}/run"), "no folder reach, squeeze, avoid there"),
    ((DISTILL, "--iterations", "-1", "--out", "{tmp}/run"), "iterations is -1"),
    ((DISTILL, "--student", "history", "[2,4]", "--out", "{tmp}/run"), "MMNavConfig.history is [2, 4]"),
    ((DISTILL, "--student", "history", "[2,-1]", "--out", "{tmp}/run"), "MMNavConfig.history is [2, -1]"),
    ((DISTILL, "--student", "history", "4", "--out", "{tmp}/run"), "MMNavConfig.history is 4; it must be a list"),
    ((DISTILL, "--student", "view_count", '"two"', "--out", "{tmp}/run"), "MMNavConfig.view_count is 'two'"),
    ((DISTILL, "--student", "panorama_chanels", "0", "--out", "{tmp}/run"), "Did you mean panorama_channels"),
    ((DISTILL, "--scale=nano-siglip", "--student", "image_size", "[48,96]", "--out", "{tmp}/run"), "takes [64, 64]"),
    ((DISTILL, "--seed", "20251003", "--out", "{tmp}/run"), "seed is 20251003; it must lie between 0 and"),
    ((DISTILL, "--student", "samples", "3", "--out", "{tmp}/run"), "RigCfg.samples is 3"),
    ((DISTILL, "--student", "image_size", "[32.5,128]", "--out", "{tmp}/run"), "image_size is [32.5, 128]"),
    ((DISTILL, "--student", "field_of_view", "[400,400]", "--out", "{tmp}/run"), "MMNavConfig's cameras"),
    ((DISTILL, "--student", "history", "two", "--out", "{tmp}/run"), "must be JSON"),
    ((DISTILL, "--out", "{tmp}/distilled"), "is a run with another"),
    (("-m", "mmnav.scenes", "Reach", "--difficulty", "2"), "--difficulty must lie in [0, 1], not 2.0"),
    (("-m", "mmnav.scenes", "Rech"), "unknown scene 'Rech'"),
]


class _Evil:
    def __reduce__(self):
        return (open, ("evil-was-here", "w"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("bad")
    (tmp / "garbage.pt").write_bytes(b"no checkpoint")
    torch.save({"format": 1, "task": "Avoid", "iter": 1}, tmp / "other.pt")
    torch.save({"format": 1, "task": _Evil()}, tmp / "evil.pt")
    (tmp / "full").mkdir()
    (tmp / "full" / "summary.json").write_text("precious")
    (tmp / "broken").mkdir()
    (tmp / "broken" / "model.safetensors").write_bytes(b"cut off")
    (tmp / "broken" / "config.json").write_text(json.dumps({"format": 1}))
    (tmp / "film.mp4").write_text("precious")
    (tmp / "distilled").mkdir()
    (tmp / "distilled" / "results.json").write_text(json.dumps({"cfg": {"seed": 7}, "student": {}, "origin": {}}))
    return tmp


@pytest.fixture(scope="module")
def commands():
    """Runs commands in forks of one process: the imports of each would take ten seconds."""
    with subprocess.Popen(
        [sys.executable, "tests/scripts/forking.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=python_environment(),
    ) as process:

        def run(*words: str) -> SimpleNamespace:
            process.stdin.write(json.dumps(words) + "\n")
            process.stdin.flush()
            return SimpleNamespace(**json.loads(process.stdout.readline()))

        yield run
        process.stdin.close()


@pytest.mark.parametrize(("words", "message"), CASES, ids=[" ".join(words)[-60:] for words, _ in CASES])
def test_a_mistake_is_named_before_anything_starts(commands, folder, words, message):
    result = commands(*(word.replace("{tmp}", str(folder)) for word in words))
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 2, result.stderr[-2000:]
    assert len(errors) == 1 and message in errors[0]
    assert "Traceback" not in result.stderr
    assert {(folder / name).read_text() for name in ("full/summary.json", "film.mp4")} == {"precious"}


def test_a_fork_answers_as_a_process_of_its_own(python, commands):
    words = ("scripts/evaluate.py", "--policy", "random", "--task", "Swim", "--out", "nowhere")
    alone, forked = python(*words), commands(*words)
    assert (forked.returncode, forked.stdout) == (alone.returncode, alone.stdout)
    assert forked.stderr.splitlines()[-1] == alone.stderr.splitlines()[-1]


def test_loading_a_checkpoint_runs_no_code(python, folder):
    python(TRAIN, "--task", "Reach", "--checkpoint", folder / "evil.pt", "--logs", folder)
    assert not list(folder.rglob("evil-was-here"))
