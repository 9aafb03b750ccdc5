"""Runs the shipped experts, and a base that stands still, under one physics preset; prints the episodes as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import torch

from mmnav_tasks.agents.expert import load_expert
from mmnav_tasks.launch import running_env, task_config
from mmnav_tasks.rollout import Policy, evaluation_layouts, run_episodes

EXPERTS = Path(__file__).parents[2] / "assets" / "experts"
EPISODES = 100


class StandStill(Policy):
    def __call__(self, obs):
        return torch.zeros(obs.batch_size[0], 3)


def run(task: str, physics: str) -> None:
    cfg, _ = task_config(task, physics)
    layouts = evaluation_layouts(77, EPISODES)
    cfg.sim.device, cfg.scene.num_envs, cfg.layouts = "cpu", EPISODES, layouts.tolist()
    policies = {"expert": load_expert(EXPERTS / task.lower())}
    if task == "Avoid":
        policies["stand still"] = StandStill()
    with running_env(task, cfg) as env:
        for name, policy in policies.items():
            episodes = run_episodes(env.unwrapped, policy, layouts, 77)
            row = {"task": task, "policy": name, "episodes": [dataclasses.asdict(e) for e in episodes]}
            print("EPISODES " + json.dumps(row), flush=True)


if __name__ == "__main__":
    for name in ("Reach", "Squeeze", "Avoid"):
        run(name, sys.argv[1])
