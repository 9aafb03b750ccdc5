"""Distillation from the command line, killed in the middle, and what becomes of the student."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import imageio.v2 as imageio
import pytest
from processes import ROOT, python_environment

from mmnav.files import only_one

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STAGES = ("sight", "panorama", "reading", "offline", "online")
SHORT = {"steps": 4, "batch": 8, "warmup": 1, "save-every": 2}
WORDS = ["scripts/distill.py", "--robots=2", "--episodes=2", "--demo-steps=150", "--iterations=1", "--rollout-steps=30"]
WORDS += ["--report-episodes=1", "--device=cpu"]
WORDS += [f"--{stage}.{name}={value}" for stage in STAGES for name, value in SHORT.items()]


@pytest.fixture(scope="module")
def run(python, tmp_path_factory):
    """A run that was killed as soon as stage 1 was evaluated, and then went on."""
    folder = tmp_path_factory.mktemp("run")
    words = [sys.executable, *WORDS, "--out", str(folder)]
    log = (folder / "log").open("w")
    process = subprocess.Popen(words, cwd=ROOT, env=python_environment(), stdout=log, stderr=log)
    results = folder / "results.json"
    for _ in range(1200):
        time.sleep(0.25)
        if process.poll() is not None or (results.is_file() and json.loads(results.read_text())["stages"]):
            break
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, (folder / "log").read_text()[-3000:]
    before = json.loads(results.read_text())
    done = python(*WORDS, "--out", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, before, done.stdout


def test_a_killed_run_goes_on_with_the_same_words(run):
    folder, before, told = run
    after = json.loads((folder / "results.json").read_text())
    assert after["stages"][0] == before["stages"][0]
    assert [stage["name"] for stage in after["stages"]] == ["stage 1", "iteration 1"]
    assert after["best"] in ("stage 1", "iteration 1")
    assert "stage 1: training" not in told


def test_a_run_goes_on_in_one_process_and_with_its_own_eyes_alone(run, python):
    """Both are refused before the simulator starts, and change nothing."""
    folder = run[0]
    settings = (folder / "settings.yaml").read_bytes()
    with only_one(folder):
        busy = python(*WORDS, "--out", folder)
    other = python(*WORDS, "--out", folder, "--vision", "assets/students/nano")
    for refused, message in ((busy, "another process is at work there"), (other, "is a run with another vision")):
        assert refused.returncode == 2 and message in refused.stderr, refused.stderr[-2000:]
        assert "Evaluating" not in refused.stdout + refused.stderr
    assert (folder / "settings.yaml").read_bytes() == settings


def test_the_run_leaves_its_settings_a_report_and_students(run):
    folder, _, told = run
    from mmnav.distill.settings import load_settings

    assert load_settings(folder / "settings.yaml").run.robots == 2
    assert (folder / "report" / "report.html").stat().st_size > 2000
    film = imageio.get_reader(folder / "report" / "episode_01.mp4")
    assert film.get_data(0).std() > 10
    for stage in ("pretrained", "stage 1", "iteration 1", "best"):
        assert (folder / "students" / stage / "model.safetensors").is_file()
        assert load_settings(folder / "students" / stage / "settings.yaml").run.robots == 2
    assert "Evaluate: ./isaaclab.sh -p scripts/evaluate.py" in told


def test_a_student_is_evaluated_beside_others_and_the_same_call_gives_the_same_bytes(run, python, tmp_path):
    best = run[0] / "students" / "best"
    for name in ("a", "b"):
        words = ["--policy", best, "straight", "--task", "Avoid", "--episodes", "4", "--seeds", "1"]
        done = python("scripts/evaluate.py", *words, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "a" / "episodes.jsonl").read_bytes() == (tmp_path / "b" / "episodes.jsonl").read_bytes()
    rows = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert [row["policy"] for row in rows] == [str(best), "straight"]


def test_a_student_is_played(run, python, tmp_path):
    words = ["--task", "Squeeze", "--policy", run[0] / "students" / "best", "--episodes", "1"]
    done = python("scripts/play.py", *words, "--video", tmp_path / "film.mp4")
    assert done.returncode == 0, done.stderr[-3000:]
    assert imageio.get_reader(tmp_path / "film.mp4").get_data(0).std() > 10


def test_what_was_recorded_is_whole(run, python):
    done = python("scripts/data.py", "verify", run[0] / "episodes" / "iteration 1")
    assert done.returncode == 0, done.stdout
    assert "problems: 0" in done.stdout


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """The folder of a small language model with its tokenizer: what ``--language`` takes."""
    from mmnav.vla import make_student

    folder = tmp_path_factory.mktemp("language")
    model, processor = make_student("nano", seed=1)
    model.language_model.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("scale", ["nano-siglip", "small"])
def test_every_scale_that_fits_drives_and_goes_on_by_its_settings(python, tmp_path, language, scale):
    """It ends where it is told to; what it was told is then said by the file that it left."""
    given = ["--language", language, "--lora-rank", "2"] if scale == "small" else []
    words = [*WORDS, "--iterations=0", "--episodes=1", "--scale", scale, *given, "--out", tmp_path]
    first = python(*words, "--until", "lessons")
    assert first.returncode == 0, first.stderr[-3000:]
    assert "The lessons are there" in first.stdout and not (tmp_path / "students" / "best").exists()
    rest = ["--settings", tmp_path / "settings.yaml", "--out", tmp_path, "--report-episodes=0", "--device=cpu"]
    second = python("scripts/distill.py", *rest)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "sight: training" not in second.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(row["episodes"], row["SR"] >= 0.0) for row in results["stages"][0]["rows"].values()] == [(1, True)] * 3
    config = json.loads((tmp_path / "students" / "best" / "config.json").read_text())
    assert config["vision_config"]["model_type"] == {"nano-siglip": "siglip_vision_model", "small": "resnet"}[scale]
