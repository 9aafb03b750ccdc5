"""Trains an expert with privileged depth by PPO and ends with its evaluation on held-out layouts.

    ./isaaclab.sh -p scripts/train_expert.py --task Squeeze

Without further words it takes what the machine has: on a CPU a run of minutes, on a GPU thousands of envs. Ctrl-C and
kill -9 lose nothing that was saved; ``--checkpoint latest`` goes on. Isaac Lab's Hydra words (``env.rewards.collision.
weight=-4 agent.algorithm.gamma=0.995``) change any setting.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import _checkout  # noqa: F401
from mmnav.errors import UserError, run_main

GPU = {"num_envs": 4096, "max_iterations": 1500, "evaluate_every": 100}
"""What a GPU gets in place of the configurations' defaults, which are a CPU's."""


def parse() -> tuple[argparse.Namespace, list[str]]:
    """The user's words, and what is left for Hydra."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="Reach, Squeeze or Avoid")
    parser.add_argument("--num_envs", type=int, help="parallel envs; by device if not given")
    parser.add_argument("--seed", type=int, default=1, help="seed of layouts, dynamics and network")
    parser.add_argument("--max_iterations", type=int, help="PPO iterations in all; by device if not given")
    parser.add_argument("--evaluate_every", type=int, help="iterations between evaluations; by device if not given")
    parser.add_argument("--device", help="cpu or cuda:N; the first GPU, or else the CPU, if not given")
    parser.add_argument("--physics", default="kinematic", help="kinematic, ovphysx or isaacsim_physx")
    parser.add_argument("--checkpoint", help="go on from latest, best, a run's folder or a model_*.pt")
    parser.add_argument("--logger", default="tensorboard", help="tensorboard, or a writer class that rsl_rl knows")
    parser.add_argument("--distributed", action="store_true", help="one process per device, started by torchrun")
    parser.add_argument("--logs", type=Path, default=Path("logs/mmnav"), help="where runs are written")
    parser.add_argument("--episodes", type=int, default=500, help="episodes of each of the closing evaluation's seeds")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of the closing evaluation; 0 for none")
    parser.add_argument("--viz", help="Isaac Lab's visualizer: kit, newton, rerun or viser")
    return parser.parse_known_args()


def main() -> None:
    """Checks the words, trains, evaluates, and says where everything is."""
    args, overrides = parse()
    from mmnav_tasks import launch

    if unknown := [word for word in overrides if "=" not in word]:
        raise UserError(f"unknown words {' '.join(unknown)!r}; --help lists the known ones.")
    task = launch.task_name(args.task, ("Reach", "Squeeze", "Avoid"))
    for flag in ("num_envs", "max_iterations", "evaluate_every", "episodes"):
        launch.positive(f"--{flag}", getattr(args, flag))
    rank, local_rank = int(os.getenv("RANK", "0")), int(os.getenv("LOCAL_RANK", "0"))
    if args.distributed and "WORLD_SIZE" not in os.environ:
        raise UserError("--distributed wants torchrun: torchrun --nproc_per_node 2 scripts/train_expert.py ...")
    device = launch.device_name(args.device)
    if args.distributed and device.startswith("cuda"):
        device = launch.device_name(f"cuda:{local_rank}")
    physics = launch.physics_name(args.physics)
    defaults = {} if device == "cpu" else GPU
    runs = launch.writable_folder("--logs", args.logs / task.lower())

    from mmnav_tasks.agents.runner import RANK_SEEDS, find_checkpoint, read_checkpoint

    checkpoint = find_checkpoint(args.checkpoint, runs) if args.checkpoint else None
    env_cfg, agent_cfg = launch.task_config(task, physics, overrides)
    env_cfg.scene.num_envs = args.num_envs or defaults.get("num_envs", env_cfg.scene.num_envs)
    env_cfg.sim.device = agent_cfg.device = device
    env_cfg.seed = agent_cfg.seed = args.seed + RANK_SEEDS * rank
    agent_cfg.max_iterations = args.max_iterations or defaults.get("max_iterations", agent_cfg.max_iterations)
    agent_cfg.save_interval = args.evaluate_every or defaults.get("evaluate_every", agent_cfg.save_interval)
    agent_cfg.logger = args.logger
    if checkpoint:
        state = read_checkpoint(checkpoint, "cpu")
        if state["task"] != task:
            raise UserError(f"--checkpoint {checkpoint}: trained on {state['task']}, not on {task}.")
        if state["iter"] >= agent_cfg.max_iterations:
            raise UserError(
                f"--checkpoint {checkpoint} has {state['iter']} iterations; ask for more with --max_iterations."
            )

    run = checkpoint.parent if checkpoint else runs / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_seed{args.seed}"
    if rank == 0:
        run.mkdir(exist_ok=True)
        (run / "command.json").write_text(json.dumps(sys.argv) + "\n")
    finished = train(task, env_cfg, agent_cfg, run, checkpoint, args.viz)
    if rank == 0:
        close(task, physics, run, args.episodes if finished else 0, args.seeds)


def train(task: str, env_cfg, agent_cfg, run: Path, checkpoint: Path | None, viz) -> bool:
    """Makes the env and the runner and trains; says whether it came to its end."""
    import torch
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

    from mmnav_tasks.agents.runner import ExpertRunner
    from mmnav_tasks.agents.terminal import RunDisplay
    from mmnav_tasks.launch import running_env

    torch.manual_seed(agent_cfg.seed)
    log = run / "isaaclab.log" if run.is_dir() else Path(os.devnull)  # rank 0 made the folder
    finished = True
    with RunDisplay(task, run, env_cfg, agent_cfg) as display:
        with running_env(task, env_cfg, log=log, viz=viz) as env:
            wrapped = RslRlVecEnvWrapper(env)
            runner = ExpertRunner(wrapped, agent_cfg.to_dict(), str(run), agent_cfg.device, task)
            if checkpoint:
                runner.load(str(checkpoint), map_location=agent_cfg.device)
            try:
                runner.train(agent_cfg.max_iterations, display.update, random_start=not checkpoint)
            except KeyboardInterrupt:
                display.interrupted(runner.current_learning_iteration)
                finished = False
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return finished


def close(task: str, physics: str, run: Path, episodes: int, seeds: int) -> None:
    """Evaluates the best expert in a process of its own and says what to do next."""
    import subprocess

    best = run / "best"
    if not best.is_dir():
        print("Stopped before the first evaluation: no expert yet.")
        return
    script = Path(__file__).with_name("evaluate.py")
    if episodes > 0 and seeds > 0:
        words = ["--policy", best, "--task", task, "--physics", physics, "--episodes", episodes]
        words += ["--seeds", seeds, "--out", run / "evaluation", "--overwrite"]
        subprocess.run([sys.executable, str(script), *map(str, words)], check=False)
    print(f"Expert:     {best}")
    print(f"Checkpoint: {max(run.glob('model_*.pt'), key=os.path.getmtime, default='none')}")
    print(f"Play it:    ./isaaclab.sh -p scripts/play.py --task {task} --policy {best} --video {task.lower()}.mp4")
    print(f"Go on:      ./isaaclab.sh -p scripts/train_expert.py --task {task} --checkpoint {run} --max_iterations ...")


if __name__ == "__main__":
    run_main(main)
