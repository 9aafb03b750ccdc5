"""Evaluation and playback from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import imageio.v2 as imageio
import pytest
from processes import ROOT, python_environment
from scipy.stats import binomtest

from mmnav.evaluate import OUTCOMES

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WORDS = ("--policy", "straight", "random", "--task", "Avoid", "--episodes", "6", "--seeds", "2")


def kill_after_a_part(folder) -> int:
    """Starts an evaluation and kills it as soon as a part of it is finished; returns how many were."""
    words = [sys.executable, "scripts/evaluate.py", *WORDS, "--out", str(folder)]
    with subprocess.Popen(words, cwd=ROOT, env=python_environment(), stderr=subprocess.DEVNULL) as process:
        while not list(folder.glob("parts/*.json")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    return len(list(folder.glob("parts/*.json")))


@pytest.fixture(scope="module")
def results(python, tmp_path_factory):
    """Two folders of the same evaluation; the second one was killed on its way."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    assert 1 <= kill_after_a_part(folders[1]) < 4
    for folder in folders:
        result = python("scripts/evaluate.py", *WORDS, "--out", folder)
        assert result.returncode == 0, result.stderr[-3000:]
    return folders


def test_the_same_call_gives_the_same_bytes_though_it_was_killed_once(results):
    first, second = results
    for name in ("summary.json", "episodes.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert not (second / "parts").exists()


def test_rows_and_lines_say_what_they_are_about(results):
    rows = json.loads((results[0] / "summary.json").read_text())
    assert [(row["policy"], row["seed"]) for row in rows] == [
        (policy, seed) for seed in (0, 1) for policy in ("straight", "random")
    ]
    for row in rows:
        assert row["task"] == "Avoid" and row["physics"] == "kinematic" and row["episodes"] == 6
        assert row["SR_low"] <= row["SR"] <= row["SR_high"]
        assert row["SR"] + row["CR"] + row["TO"] == pytest.approx(1.0, abs=2e-4)
    lines = [json.loads(line) for line in (results[0] / "episodes.jsonl").read_text().splitlines()]
    assert len(lines) == 24
    assert {line["outcome"] for line in lines} <= set(OUTCOMES)
    layouts = {(line["seed"], line["layout"]) for line in lines}
    assert len(layouts) == 12  # both policies meet the same ones


def test_the_shipped_student_succeeds_as_often_as_its_card_says(python, tmp_path):
    """On the first of the card's layouts of every scene, as far as so few can tell."""
    student = "assets/students/nano"
    words = ("--policy", student, "--task", "all", "--episodes", "24", "--seeds", "1", "--out", tmp_path)
    result = python("scripts/evaluate.py", *words)
    assert result.returncode == 0, result.stderr[-3000:]
    rows = {row["task"]: row for row in json.loads((tmp_path / "summary.json").read_text())}
    cells = [line.split("|") for line in (ROOT / student / "README.md").read_text().splitlines()]
    card = {cell[1].strip(): float(cell[2]) / 100.0 for cell in cells if len(cell) > 9 and cell[1].strip() in rows}
    assert set(card) == {"Reach", "Squeeze", "Avoid", "Mixed"}
    for task, rate in card.items():
        successes = round(24 * rows[task]["SR"])
        assert binomtest(successes, 24, rate).pvalue > 1e-3, (task, successes, rate)


def test_a_student_is_played_with_the_colour_that_it_sees(python, tmp_path):
    """Depth views leave the ground black; colour views show it."""
    black = {}
    for policy in ("assets/students/nano", "assets/experts/reach"):
        video = tmp_path / f"{Path(policy).name}.mp4"
        words = ("--task", "Reach", "--policy", policy, "--episodes", "1", "--video", video)
        result = python("scripts/play.py", *words)
        assert result.returncode == 0, result.stderr[-3000:]
        with imageio.get_reader(video) as film:
            views = film.get_data(5)[20:-20, 935:-10]
        black[policy] = float((views.max(-1) < 20).mean())
    assert black["assets/students/nano"] < 0.05 < 0.2 < black["assets/experts/reach"], black


def test_a_student_made_for_other_control_steps_is_refused(python, tmp_path):
    student = shutil.copytree(ROOT / "assets" / "students" / "nano", tmp_path / "slow")
    config = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(config | {"control_step": 0.2}))
    words = ("--policy", student, "--task", "Reach", "--episodes", "2", "--seeds", "1", "--out", tmp_path / "out")
    result = python("scripts/evaluate.py", *words)
    assert result.returncode != 0 and "control_step is 0.2 s" in result.stderr
    assert "Traceback" not in result.stderr


def test_play_writes_a_film_of_every_step(python, tmp_path):
    video = tmp_path / "film.mp4"
    result = python("scripts/play.py", "--task", "Avoid", "--policy", "straight", "--episodes", "1", "--video", video)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"Wrote {video}" in result.stdout
    with imageio.get_reader(video) as film:
        frames = [frame for frame in film]  # list() would ask for its length, which is infinite
    assert frames[0].shape == (720, 1280, 3) and len(frames) > 15
    assert abs(frames[0].astype(int) - frames[-1]).max() > 50  # something moved
