"""Metrics: closed forms and edge cases."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmnav.evaluate import Episode, FinishedParts, as_record, summarize, wilson_interval, write_results


def episode(outcome="success", time=10.0, path=10.0, shortest=10.0) -> Episode:
    return Episode(1, outcome, time, path, shortest, 0.5)


def test_wilson_interval_against_published_values():
    """Newcombe 1998, Table I, method 3: 81/263 gives 0.2553 to 0.3662; 0/20 gives 0 to 0.1611."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(count=st.integers(1, 2000), data=st.data())
def test_wilson_interval_holds_the_rate_and_mirrors(count, data):
    successes = data.draw(st.integers(0, count))
    low, high = wilson_interval(successes, count)
    assert 0.0 <= low <= successes / count + 1e-12 and successes / count - 1e-12 <= high <= 1.0
    assert wilson_interval(count - successes, count) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("successes", "count"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_interval_of_nonsense_is_refused(successes, count):
    with pytest.raises(ValueError, match="have no rate"):
        wilson_interval(successes, count)


@pytest.mark.parametrize(
    ("given_episode", "expected"),
    [
        (episode(path=9.5), 1.0),
        (episode(path=19.0), 0.5),
        (episode(path=9.0), 1.0),  # shorter than the shortest is not better than perfect
        (episode("collision", path=9.5), 0.0),
        (episode("time_out"), 0.0),
        (episode(shortest=math.inf), 0.0),
        (episode(shortest=0.5, path=0.0), 1.0),  # born at the goal
    ],
)
def test_spl(given_episode, expected):
    assert given_episode.spl == pytest.approx(expected)


def test_summary_counts_every_outcome():
    """Two successes of 10 and 20 s among four: WTT = 15 s / 0.5."""
    row = summarize([episode(), episode(time=20.0), episode("collision"), episode("time_out")], policy="p", seed=3)
    assert list(row)[:2] == ["policy", "seed"]
    assert (row["SR"], row["CR"], row["TO"], row["WTT"], row["episodes"]) == (0.5, 0.25, 0.25, 30.0, 4)


def test_without_a_success_there_is_no_travel_time():
    assert summarize([episode("collision")])["WTT"] is None


def test_records_are_valid_json():
    line = json.dumps(as_record(episode(shortest=math.inf), task="Reach"), allow_nan=False)
    assert json.loads(line)["shortest"] is None


def test_results_are_complete_or_not_there(tmp_path):
    write_results(tmp_path, [{"SR": 1.0}], [{"a": 1}, {"a": 2}])
    assert json.loads((tmp_path / "summary.json").read_text()) == [{"SR": 1.0}]
    assert (tmp_path / "episodes.jsonl").read_text().count("\n") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["episodes.jsonl", "summary.json"]


def test_a_finished_part_is_found_again_and_no_other_is(tmp_path):
    parts, about = FinishedParts(tmp_path), {"policy": "straight", "task": "Reach", "seed": 0, "episodes": 2}
    assert parts.get(**about) is None
    done = [episode(), episode("collision", shortest=math.inf)]
    parts.put(done, **about)
    assert FinishedParts(tmp_path).get(**about) == done
    for name, value in {"policy": "random", "seed": 1, "episodes": 3}.items():
        assert parts.get(**{**about, name: value}) is None
    next((tmp_path / "parts").iterdir()).write_text("[{")
    assert parts.get(**about) is None
    parts.clear()
    assert not list(tmp_path.iterdir())
