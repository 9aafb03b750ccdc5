"""A World inside a running env: dynamics, endings, NaN, repeatable evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def found(python):
    result = python(Path(__file__).with_name("scenario.py"))
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [json.loads(line[6:]) for line in result.stdout.splitlines() if line.startswith("FOUND ")]
    return {row["name"]: row for row in rows}


def test_a_nan_ends_its_own_env_only_and_the_run_goes_on(found):
    assert found["nan"]["ended"] == [3]
    assert found["nan"]["finite"] and found["nan"]["back"]


def test_nan_actions_stand_still(found):
    assert found["nan_action"]["moved"] < 0.02


def test_the_base_follows_its_command_with_lag_and_limited_acceleration(found):
    """At most 1.5 m/s^2 (and a fifth more by randomisation) towards 1 m/s (within a twentieth)."""
    assert 0.05 < found["lag"]["first"] < 0.2
    assert found["lag"]["rise"] <= 1.5 * 1.2 * 0.1 + 1e-6
    assert 0.9 < found["lag"]["last"] < 1.1


def test_the_trail_leads_back(found):
    """Its entries are the base's places 1, 2, 4, 8 and 16 s ago, in its present frame."""
    assert found["trail"]["alive"] >= 1
    assert found["trail"]["wrong"] < 1e-4


def test_exactly_one_outcome_ends_an_episode(found):
    assert found["outcomes"]["sums"] == [0, 1]


def test_being_at_the_goal_is_success(found):
    assert found["success"]["ended"] == [True] * 4 + [False] * 4


def test_a_touch_between_two_control_steps_is_a_collision(found):
    """Every physics step counts, as under PhysX: who grazes an edge and comes off it again has touched it."""
    assert found["touch"]["collided"] == [True] * 4 + [False] * 4
    assert [clearance == 0.0 for clearance in found["touch"]["clearance"]] == [True] * 4 + [False] * 4


def test_an_evaluation_repeats_exactly_and_leaves_training_as_it_was(found):
    row = found["evaluation"]
    assert row["same"] and row["untouched"] and row["timed"]
    assert row["ended"]
