"""Drives envs of one physics preset in a process of its own and prints what it saw as JSON: one line an env."""

from __future__ import annotations

import json
import sys

import torch

from mmnav_tasks.launch import running_env, task_config


def drive(task: str, physics: str, num_envs: int, steps: int = 20) -> dict:
    """Takes random steps; reports shapes, whether everything was finite, and how far the robots got.

    Several robots see colour as well.
    """
    cfg, _ = task_config(task, physics)
    cfg.sim.device, cfg.scene.num_envs, cfg.seed = "cpu", num_envs, 3
    cfg.rgb_views = (24, 16) if num_envs > 1 else None
    with running_env(task, cfg) as env:
        generator = torch.Generator().manual_seed(0)
        obs, _ = env.reset()
        finite, way, before = True, 0.0, env.unwrapped.world.position.clone()
        for _ in range(steps):
            action = 2.0 * torch.rand(num_envs, 3, generator=generator) - 1.0
            obs, reward, *_ = env.step(action)
            values = [*obs.values(), reward]
            finite &= all(bool(v.isfinite().all()) for v in values)
            place = env.unwrapped.world.position.clone()
            way += float((place - before).norm(dim=-1).clamp(max=0.2).mean())
            before = place
        contrast = float(obs["rgb"].float().std(dim=(1, 2, 3, 4)).min()) if num_envs > 1 else None
        shapes = {name: list(value.shape) for name, value in obs.items()}
        terms = {
            "rewards": env.unwrapped.reward_manager._step_reward.shape[0],
            "done": list(env.unwrapped.termination_manager.dones.shape),
        }
    seen = {"shapes": shapes, "contrast": contrast}
    return {"task": task, "num_envs": num_envs, "finite": finite, "way": way, "terms": terms} | seen


if __name__ == "__main__":
    physics, *tasks = sys.argv[1:]
    for name in tasks:
        for count in (1, 16):
            print("ENV " + json.dumps(drive(name, physics, count)), flush=True)
