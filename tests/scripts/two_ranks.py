"""Two iterations on each of two ranks, for test_train_expert.py; rank 0 prints what both ended with."""

from __future__ import annotations

import json
import os
import tempfile

import torch
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

from mmnav_tasks.agents.runner import RANK_SEEDS, ExpertRunner
from mmnav_tasks.launch import running_env, task_config

if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    env_cfg, agent_cfg = task_config("Reach")
    env_cfg.scene.num_envs, env_cfg.sim.device = 8, "cpu"
    env_cfg.seed = agent_cfg.seed = 1 + RANK_SEEDS * rank
    with tempfile.TemporaryDirectory() as logs, running_env("Reach", env_cfg) as env:
        runner = ExpertRunner(RslRlVecEnvWrapper(env), agent_cfg.to_dict(), logs, "cpu", "Reach")
        runner.train(2, lambda progress: None)
        weights = torch.cat([p.detach().flatten() for p in runner.alg.actor.parameters()]).double().sum().item()
        mine = (weights, env.unwrapped.world.scene.seed.tolist(), runner.current_learning_iteration)
        found = [None, None]
        torch.distributed.all_gather_object(found, mine)
        if rank == 0:
            names = ("weights", "layouts", "iterations")
            print("FOUND " + json.dumps(dict(zip(names, zip(*found, strict=True), strict=True))), flush=True)
        torch.distributed.destroy_process_group()
