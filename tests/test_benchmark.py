"""The benchmark script: what it answers to bad words, what it writes, and the processes it measures in."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from mmnav_tasks.benchmark.env import Bench

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "benchmark.py"


def run(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def counting(env_count: int, device: str):
    """Counts from ``env_count`` and writes every number down when it is made."""
    yield {"device": device}
    for number in itertools.count(env_count):
        print(number, flush=True)
        yield {"number": number}


def failing(env_count: int, device: str):
    os.write(2, b"the cause\n")
    yield {}
    os._exit(3)


@pytest.mark.smoke
@pytest.mark.parametrize(("words", "named"), [(["--help"], "env"), (["env", "--help"], "--rounds")])
def test_help_lists_what_there_is(words, named):
    result = run(*words)
    assert result.returncode == 0, result.stderr
    assert named in result.stdout


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["rgi"], "'env'"),
        ([], "benchmark"),
        (["env", "--envs", "0"], "--envs must be at least 1"),
        (["env", "--envs", "64", "-1"], "--envs must be at least 1"),
        (["env", "--rounds", "few"], "--rounds"),
        (["env", "--json", "."], "--json"),
        (["student", "--scale", "small"], "unknown scale 'small'; there are nano"),
    ],
)
def test_bad_words_give_one_line(words, named):
    result = run(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and named in line


def test_rounds_run_only_when_asked_for(tmp_path):
    log = tmp_path / "log"
    bench = Bench(counting, 7, "cpu", log)
    assert bench.about == {"name": "counting", "envs": 7, "device": "cpu"}
    for count in range(4):
        assert log.read_text().split() == [str(7 + i) for i in range(count)]
        bench.run()
    bench.stop()
    numbers = {"median": 8.5, "min": 7, "max": 10, "rounds": [7, 8, 9, 10]}
    assert bench.result() == bench.about | {"number": numbers}


def test_the_end_of_a_process_is_told_with_what_it_printed(tmp_path):
    bench = Bench(failing, 1, "cpu", tmp_path / "log")
    with pytest.raises(RuntimeError, match="the cause"):
        bench.run()


@pytest.mark.slow
@pytest.mark.integration
def test_the_smallest_run_writes_every_measurement(tmp_path):
    path = tmp_path / "env.json"
    result = run("env", "--envs", 2, 3, "--train_envs", 8, "--rounds", 2, "--device", "cpu", "--json", path)
    assert result.returncode == 0, result.stderr[-3000:]
    written = json.loads(path.read_text())
    assert {"cpu", "cores", "load_average", "versions"} <= written["machine"].keys()

    rows = written["results"]
    expected = [("stepping", 2), ("stepping", 3), ("stock_stepping", 2), ("training", 8)]
    assert [(row["name"], row["envs"]) for row in rows] == expected
    for row in rows:
        rate = row["env_steps_per_second"]
        assert len(rate["rounds"]) == 2
        assert 0.0 < rate["min"] <= rate["median"] <= rate["max"]
    assert rows[0]["depth_views"] == [4, 16, 16]
    assert rows[0]["primitives"] == pytest.approx(30.0, abs=1.0)
    assert 0.0 < rows[3]["collect_share"]["median"] < 1.0

    ours, stock = rows[0]["env_steps_per_second"]["rounds"], rows[2]["env_steps_per_second"]["rounds"]
    ratios = [a / b for a, b in zip(ours, stock, strict=True)]
    assert written["ours_to_stock"]["median"] == pytest.approx(statistics.median(ratios))
    assert f"ours / stock at 2 envs: {statistics.median(ratios):.1f}" in result.stdout


@pytest.mark.slow
@pytest.mark.integration
def test_the_students_rates_make_its_ratios(tmp_path):
    path = tmp_path / "student.json"
    result = run("student", "--rounds", 1, "--json", path)
    assert result.returncode == 0, result.stderr[-3000:]
    written = json.loads(path.read_text())
    rates = {name: rate["median"] for name, rate in written["rates"].items()}
    assert min(rates.values()) > 0.0
    assert written["cached_to_not"]["median"] == pytest.approx(
        rates["control, one core"] / rates["control without a cache, one core"]
    )
    each = {name: 1.0 / rates[name] for name in ("render", "encode", "decide")}
    assert written["rendering_share"]["median"] == pytest.approx(each["render"] / sum(each.values()))
    for name in rates:
        assert name in result.stdout
