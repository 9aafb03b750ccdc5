"""Robots without a simulator: straight drives through real layouts, for tests of what learns from them."""

from __future__ import annotations

import numpy as np
import torch

from mmnav.data import Demo
from mmnav.data.pixels import encode_pixels
from mmnav.distill.settings import DistillCfg
from mmnav.distill.trainer import TrainerCfg
from mmnav.evaluate import Episode
from mmnav.robot import ROBOT
from mmnav.scenes import SCENES, as_record, generate

FEW = TrainerCfg(steps=2, batch=4, warmup=1, save_every=1)
CFG = DistillCfg(
    robots=3, demo_steps=80, iterations=1, rollout_steps=20, episodes=10, chunk=2,
    sight=FEW, panorama=FEW, reading=FEW, offline=FEW, online=FEW,
)  # fmt: skip
"""A run of a few steps; stage 1 takes two rounds of :class:`ToyRobots`."""


def straight_drive(family: str, layout: int, steps: int = 20, outcome: str = "success") -> Demo:
    """An episode that drives straight at the goal; the expert's velocity says how far it is and where."""
    cfg = SCENES[family]()
    scene = generate(cfg, np.array([layout]))
    position, orientation = scene.start_poses(ROBOT.center_height)
    share = torch.linspace(0.0, 0.5, steps)[:, None]
    goal = torch.cat([scene.goal, position[:, 2:]], -1)
    place = position + share * (goal - position)
    x, y, z, w = orientation[0].tolist()
    yaw = 2.0 * np.arctan2(z, w)
    way = (scene.goal - place[:, :2]).numpy()
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    ahead = (way @ turn.T).astype(np.float32)
    velocity = np.concatenate([ahead / 10.0, ahead[:, :1] * 0.1], -1).astype(np.float32)
    return Demo(
        scene=as_record(cfg),
        layout=layout,
        difficulty=1.0,
        outcome=outcome,
        labels=family,
        root_pose=torch.cat([place, orientation.expand(steps, 4)], -1).numpy(),
        velocity=velocity,
        goal=ahead,
        time=(0.1 * np.arange(steps)).astype(np.float32),
        expert_action=velocity,
        action=0.5 * velocity,
        by_expert=np.ones(steps, np.uint8),
        reward=np.zeros(steps, np.float32),
    )


class ToyRobots:
    """Collects straight drives; a student's success rate is what a test says."""

    families = ("Reach", "Squeeze", "Avoid")

    def __init__(self, success: dict[str, list[float]] | None = None):
        """Takes the success rates of the evaluations to come, by family."""
        self.success = success or {}
        self.evaluations = 0
        self.shares: list[list[float]] = []
        self.told: list[dict] = []

    def collect(self, shares, steps, *, student, mixing, disturbance, round_index, pixels, on_step):
        self.shares.append(list(shares))
        self.told.append({"student": student, "mixing": mixing, "disturbance": disturbance, "steps": steps})
        torch.rand(3)  # as an env does; nothing that learns may depend on it
        on_step(steps)
        demos = [
            straight_drive(family, 100 * round_index + i, outcome="success" if i else "unfinished")
            for family in self.families
            for i in range(3)
        ]
        for demo in demos if pixels else ():
            demo.pixels = [
                encode_pixels(torch.full((4, 3, 32, 128), 9 * k, dtype=torch.uint8)) for k in range(len(demo))
            ]
        return demos

    def evaluate(self, student, episodes, on_step):
        on_step(episodes)
        rows = {}
        for family in self.families:
            rate = 0.9 if student is None else self.success.get(family, [0.5] * 99)[self.evaluations]
            good = round(rate * episodes)
            rows[family] = [
                Episode(i, "success" if i < good else "collision", 10.0, 10.0, 9.0, 0.5) for i in range(episodes)
            ]
        self.evaluations += student is not None
        return rows
