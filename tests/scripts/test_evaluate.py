"""Evaluation and playback from the command line."""

from __future__ import annotations

import json

import imageio.v2 as imageio
import pytest

from mmnav.evaluate import OUTCOMES

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WORDS = ("--policy", "straight", "random", "--task", "Avoid", "--episodes", "6", "--seeds", "2")


@pytest.fixture(scope="module")
def results(python, tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for folder in folders:
        result = python("scripts/evaluate.py", *WORDS, "--out", folder)
        assert result.returncode == 0, result.stderr[-3000:]
    return folders


def test_the_same_call_gives_the_same_bytes(results):
    first, second = results
    for name in ("summary.json", "episodes.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


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


def test_play_writes_a_film_of_every_step(python, tmp_path):
    video = tmp_path / "film.mp4"
    result = python("scripts/play.py", "--task", "Avoid", "--policy", "straight", "--episodes", "1", "--video", video)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"Wrote {video}" in result.stdout
    with imageio.get_reader(video) as film:
        frames = [frame for frame in film]  # list() would ask for its length, which is infinite
    assert frames[0].shape == (720, 1280, 3) and len(frames) > 15
    assert abs(frames[0].astype(int) - frames[-1]).max() > 50  # something moved
