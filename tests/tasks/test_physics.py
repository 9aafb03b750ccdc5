"""The physics presets agree: a policy that is good under one is as good under the other."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("episodes.py")
STEP = 0.1

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def episodes(python):
    found = {}
    for physics in ("kinematic", "ovphysx"):
        result = python(DRIVER, physics)
        assert result.returncode == 0, result.stderr[-3000:]
        for line in result.stdout.splitlines():
            if line.startswith("EPISODES "):
                row = json.loads(line[9:])
                found[physics, row["task"], row["policy"]] = row["episodes"]
    return found


def test_whoever_stands_still_is_hit_at_the_same_time(episodes):
    """PhysX must not push the base out of a mover's way unnoticed."""
    ours, physx = (episodes[physics, "Avoid", "stand still"] for physics in ("kinematic", "ovphysx"))
    assert sum(e["outcome"] == "collision" for e in ours) > 30
    for a, b in zip(ours, physx, strict=True):
        assert a["outcome"] == b["outcome"], (a, b)
        assert abs(a["time"] - b["time"]) < 1.5 * STEP, (a, b)


@pytest.mark.parametrize("task", ["Reach", "Squeeze", "Avoid"])
def test_an_expert_is_equally_good_under_both(episodes, task):
    """Of the layouts that only one of the two solves, neither solves too large a share to be chance (sign test)."""
    ours, physx = ([e["outcome"] == "success" for e in episodes[p, task, "expert"]] for p in ("kinematic", "ovphysx"))
    only_ours = sum(a and not b for a, b in zip(ours, physx, strict=True))
    only_physx = sum(b and not a for a, b in zip(ours, physx, strict=True))
    n, k = only_ours + only_physx, min(only_ours, only_physx)
    p_value = min(1.0, 2.0 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
    assert p_value > 0.005, f"{only_ours} layouts only under kinematic, {only_physx} only under ovphysx"
