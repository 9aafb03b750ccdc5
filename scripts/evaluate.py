"""Evaluates policies on fixed held-out layouts at full difficulty: a table, ``summary.json`` and ``episodes.jsonl``.

    ./isaaclab.sh -p scripts/evaluate.py --policy assets/experts/squeeze --task all --episodes 500 --seeds 3 --out out

The same call gives the same files, byte for byte, on the same kind of device; interrupted, it goes on after the last
policy, task and seed that it finished.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

import _checkout  # noqa: F401
from mmnav.errors import UserError, run_main


def parse() -> argparse.Namespace:
    """The user's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--policy", required=True, nargs="+", help="experts' and students' folders, random, straight or oracle"
    )
    parser.add_argument("--task", required=True, help="Reach, Squeeze, Avoid, Mixed or all")
    parser.add_argument("--episodes", type=int, default=500, help="episodes of each task and seed")
    parser.add_argument("--seeds", type=int, default=3, help="evaluation seeds, counted from 0")
    parser.add_argument("--physics", default="kinematic", help="kinematic, ovphysx or isaacsim_physx")
    parser.add_argument("--device", help="cpu or cuda:N; the first GPU, or else the CPU, if not given")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of students; the hardware's own, if not given")
    parser.add_argument("--out", type=Path, required=True, help="folder for summary.json and episodes.jsonl")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    return parser.parse_args()


def main() -> None:
    """Checks the words, runs the episodes, prints the table, writes the files."""
    args = parse()
    import mmnav_tasks
    from mmnav.precision import native_precision
    from mmnav_tasks import launch

    tasks = mmnav_tasks.TASKS if args.task == "all" else (launch.task_name(args.task),)
    launch.positive("--episodes", args.episodes)
    launch.positive("--seeds", args.seeds)
    device = launch.device_name(args.device)
    args.precision = args.precision or native_precision(device)
    physics = launch.physics_name(args.physics)
    if (args.out / "summary.json").exists() and not args.overwrite:
        raise UserError(f"--out {args.out} holds results already; say --overwrite or name another folder.")
    launch.writable_folder("--out", args.out)

    from rich.console import Console

    from mmnav.evaluate import FinishedParts, as_record, results_table, summarize, write_results
    from mmnav_tasks.policies import fingerprint, make_policy

    policies = {word: make_policy(word, device, args.precision) for word in args.policy}
    prints = {word: fingerprint(word) for word in policies}
    parts = FinishedParts(args.out)
    episodes = [
        (labels, episode)
        for task in tasks
        for labels, results in evaluate(policies, prints, task, physics, device, args, parts)
        for episode in results
    ]
    keys = list(dict.fromkeys(tuple(labels.items()) for labels, _ in episodes))
    group = lambda *names: list(dict.fromkeys(tuple(p for p in key if p[0] in names) for key in keys))  # noqa: E731
    select = lambda key: [e for labels, e in episodes if set(key) <= set(labels.items())]  # noqa: E731
    rows = [summarize(select(key), **dict(key)) for key in keys]
    table = [summarize(select(key), **dict(key)) for key in group("policy", "task", "physics")]
    write_results(args.out, rows, [as_record(e, **labels) for labels, e in episodes])
    parts.clear()
    terminal = Console()
    wide = terminal if terminal.is_terminal else Console(width=140)
    wide.print(results_table(table, f"{args.seeds} seed{'s'[: args.seeds > 1]} x {args.episodes} episodes"))
    print(f"Wrote {args.out / 'summary.json'} and {args.out / 'episodes.jsonl'}.")


def evaluate(policies: dict, prints: dict, task: str, physics: str, device: str, args: argparse.Namespace, parts):
    """Runs every policy on one task, but for the parts that were finished before.

    Yields:
        Labels (policy, task, physics, seed) and episodes.
    """
    from rich.console import Console
    from rich.progress import Progress

    from mmnav_tasks.launch import running_env, task_config
    from mmnav_tasks.policies import prepare
    from mmnav_tasks.rollout import evaluation_layouts, run_episodes

    cfg, _ = task_config(task, physics)
    prepare(cfg, policies)
    cfg.sim.device, cfg.scene.num_envs = device, args.episodes
    settings = {"episodes": args.episodes, "device": device.split(":")[0], "precision": args.precision}
    about = lambda word, seed: {"policy": word, "task": task, "physics": physics, "seed": seed}  # noqa: E731
    key = lambda word, seed: {**about(word, seed), **settings, "print": prints[word]}  # noqa: E731
    fixed = physics != "kinematic"  # bodies stand where they are: one env for every set of layouts
    console = Console(stderr=True, soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        for group in [[seed] for seed in range(args.seeds)] if fixed else [list(range(args.seeds))]:
            wanted = [(word, seed) for seed in group for word in policies]
            found = {pair: parts.get(**key(*pair)) for pair in wanted}
            cfg.seed = 0
            cfg.layouts = evaluation_layouts(group[0], args.episodes).tolist()
            missing = any(results is None for results in found.values())
            if fixed and missing:  # what an env simulated before may show in what it simulates next
                found = dict.fromkeys(found)
            with running_env(task, cfg, log=args.out / "isaaclab.log") if missing else nullcontext() as env:
                for (word, seed), results in found.items():
                    name = f"{word} on {task}, seed {seed}"
                    if results is None:
                        row = bar.add_task(name, total=args.episodes)
                        on_step = lambda ended, row=row: bar.update(row, completed=ended)  # noqa: E731
                        layouts = evaluation_layouts(seed, args.episodes)
                        results = run_episodes(env.unwrapped, policies[word], layouts, seed, on_step)
                        parts.put(results, **key(word, seed))
                    reached = sum(episode.succeeded for episode in results)
                    console.print(f"{name}: {reached} of {args.episodes} reached the goal")
                    yield about(word, seed), results


if __name__ == "__main__":
    run_main(main)
