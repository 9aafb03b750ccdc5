"""The rig as a sensor in a scene that knows nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("toys.py")

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["newton", "ovphysx"])
def found(request, python):
    result = python(DRIVER, request.param)
    assert result.returncode == 0, result.stderr[-3000:]
    return next(json.loads(line[6:]) for line in result.stdout.splitlines() if line.startswith("FOUND "))


def test_a_falling_ball_is_seen_where_it_is(found):
    """In every env, at every time: the physics' distance and the image's agree to a pixel's slant."""
    for row in found["balls"]:
        assert row["seen"] == pytest.approx(row["away"], abs=2e-3)
    heights = [row["away"][0] for row in found["balls"]]
    assert max(heights) - min(heights) > 0.05  # it did fall


def test_it_has_the_fields_of_isaac_labs_camera(found):
    assert found["shapes"] == {
        "rgb": [8, 192, 192, 3],
        "distance_to_camera": [8, 192, 192, 1],
        "semantic_segmentation": [8, 192, 192, 1],
    }
    assert found["intrinsics"][0][2] == found["intrinsics"][1][2] == 96.0
    assert found["headings"][0] == pytest.approx([0.0, 0.5**0.5, 1.0, 0.5**0.5], abs=1e-3)
    assert {"ground", "sky", "sphere", "box"} <= set(found["classes"]) and found["finite"]


def test_a_reset_changes_the_looks_of_its_env_only(found):
    """What is left of the other's change is its sensor's noise."""
    assert found["change"][1] > 10.0 > 5.0 > found["change"][0]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{ENV_REGEX_NS}/Bal", "RigSensorCfg.targets: '/World/envs/env_[^/]+/Bal' matches no shape"),
        ("/World/light", "RigSensorCfg.targets: '/World/light' matches no shape"),
    ],
)
def test_targets_that_are_not_there_are_named(python, target, message):
    result = python(DRIVER, "newton", target)
    assert result.returncode != 0 and message in result.stderr
