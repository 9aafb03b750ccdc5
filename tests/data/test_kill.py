"""A writer may be killed at any moment: no acknowledged episode is lost, and the next writer goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).with_name("killings.py")


def killings(python, *words) -> list[dict]:
    result = python(SCRIPT, *words)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads(line[6:]) for line in result.stdout.splitlines() if line.startswith("FOUND ")]


def test_a_kill_at_every_step_of_writing_a_shard_loses_nothing(python, tmp_path):
    """A shard of three is written; a second writer dies in its first shard; a third goes on."""
    rows = killings(python, tmp_path, "points")
    for died, gone_on in zip(rows[::2], rows[1::2], strict=True):
        point = died["point"]
        assert died["killed"], f"{point} is no step of writing a shard"
        renamed = point in ("_sync_folder", "_append", "truncate", "torn")
        assert died["acknowledged"] == 3 and died["problems"] == [], point
        assert died["found"] == (6 if renamed else 3), point
        assert gone_on["found"] == gone_on["acknowledged"] == died["found"] + 3 and gone_on["problems"] == [], point
        assert gone_on["indexed"] == (3 if renamed else 2) and gone_on["left"] == 0, point


def _check(rows: list[dict], count: int) -> None:
    assert len(rows) == count and all(row["killed"] for row in rows)
    for i, row in enumerate(rows):
        assert row["found"] >= row["acknowledged"], f"kill {i} lost acknowledged episodes: {row}"
        assert row["found"] <= row["acknowledged"] + 3 and row["problems"] == [], f"kill {i}: {row}"
        assert row["found"] >= 3 * (1 + row["place"]), f"kill {i}: the writer did not go on from the last: {row}"


def test_ten_kills_at_random_moments_lose_nothing(python, tmp_path):
    _check(killings(python, tmp_path, "random", 10), 10)


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_lose_nothing(python, tmp_path):
    rows = killings(python, tmp_path, "random", 100)
    _check(rows, 100)
    ahead = [row["found"] - row["acknowledged"] for row in rows]
    print(f"{sum(a > 0 for a in ahead)} of 100 kills fell between a shard's rename and its acknowledgement")
