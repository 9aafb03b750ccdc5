"""Drives through real layouts, no two poses alike."""

from __future__ import annotations

import numpy as np

from mmnav.data import Demo
from mmnav.robot import ROBOT
from mmnav.scenes import SCENES, as_record


def drive(family: str, layout: int, steps: int = 6) -> Demo:
    """An episode that goes its own way, by its layout's number: turning as it goes, movers somewhere on theirs."""
    rng = np.random.default_rng([layout, len(family)])
    along = np.arange(steps) / 10.0
    yaw = rng.uniform(-3.0, 3.0) + 2.0 * along
    place = rng.uniform(-1.0, 1.0, 2) + along[:, None] * rng.uniform(-1.0, 1.0, 2)
    zero = np.zeros(steps)
    pose = np.stack([*place.T, zero + ROBOT.center_height, zero, zero, np.sin(yaw / 2), np.cos(yaw / 2)], -1)
    numbers = rng.uniform(-1.0, 1.0, (4, steps, 3)).astype(np.float32)
    return Demo(
        scene=as_record(SCENES[family]()),
        layout=layout,
        difficulty=1.0,
        outcome="success",
        labels=family,
        root_pose=pose.astype(np.float32),
        velocity=numbers[0],
        goal=numbers[1, :, :2].copy(),
        time=along.astype(np.float32),
        expert_action=numbers[2],
        action=numbers[3],
        by_expert=np.ones(steps, np.uint8),
        reward=np.zeros(steps, np.float32),
    )
