"""The renderers that the benchmark compares draw the same frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmnav_tasks.benchmark.renderers import DEPTH, SHADED, Contender, make_frame, ours
from mmnav_tasks.benchmark.rig import compare

DRIVER = Path(__file__).with_name("second_opinions.py")


@pytest.fixture(scope="module")
def found(python):
    result = python(DRIVER)
    assert result.returncode == 0, result.stderr[-3000:]
    return next(json.loads(line[6:]) for line in result.stdout.splitlines() if line.startswith("FOUND "))


@pytest.mark.integration
def test_newton_sees_the_same_depth_to_a_millimetre(found):
    """Newton's own ray caster on the same primitives, 99.9 % of all pixels."""
    assert found["newton"]["pixels"] > 200_000
    assert found["newton"]["within_1_mm"] > 0.999


@pytest.mark.integration
@pytest.mark.parametrize("name", ["embree", "packets"])
def test_embree_sees_the_same_depth_but_for_its_meshes_corners(found, name):
    """Embree traces meshes; round ones have 24 sides, so that a few per cent of a radius are missing."""
    if name not in found:
        pytest.skip("no embreex, or no compiler with libembree-dev")
    assert found[name]["within_5_cm"] > 0.98


def test_ratios_are_those_of_cpu_time_per_pixel():
    """A renderer that draws half the pixels in three times the time is six times slower."""

    frames = []

    def take(seconds: int):
        return lambda: frames.append(seconds)

    rows = compare(
        [Contender("mmnav", DEPTH, 100, take(1)), Contender("peer", DEPTH, 50, take(3))],
        rounds=3,
        on_step=lambda text: None,
        clock=lambda: float(sum(frames)),
    )
    assert [row["renderer"] for row in rows] == ["mmnav", "peer"]
    assert rows[0]["ratio"]["median"] == 1.0 and rows[1]["ratio"]["rounds"] == [6.0] * 3
    assert len(frames) == 2 * (3 + 1)  # one to warm up


def test_the_frame_has_as_many_primitives_as_it_says():
    frame = make_frame(3, 16, obstacles=26)
    assert ((frame.scene.kind > 0).sum(1) >= 28).all()
    assert frame.pixels == 3 * 4 * 16 * 16
    contenders = list(ours(frame))
    assert {c.output for c in contenders} >= {DEPTH, SHADED}
    for contender in contenders:
        contender.render()
    depth = contenders[-1].depth()
    assert depth.shape == (3, 4, 16, 16) and np.isfinite(depth).all()
