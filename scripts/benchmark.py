"""Measures on this machine: ratios within one run, medians of several rounds, with the machine and the versions.

    ./isaaclab.sh -p scripts/benchmark.py env --json env.json

Measure on an idle machine; the load average before the run is printed. What there is to measure:

    env    stepping and training, beside an env made of Isaac Lab's own parts
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import NoReturn

import _checkout  # noqa: F401
from mmnav.errors import UserError, run_main


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Raises what is wrong instead of printing the usage as well."""
        raise UserError(message)


def parse() -> argparse.Namespace:
    """The user's words."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="benchmark", metavar="benchmark", required=True)
    words = {"help": "stepping and training, beside the stock way", "description": env_benchmark.__doc__}
    env = commands.add_parser("env", **words)
    env.add_argument("--envs", type=int, nargs="+", default=[64, 1024, 4096], help="sizes; stock is run at the first")
    env.add_argument("--train_envs", type=int, default=512, help="envs of the training loop")
    env.add_argument("--rounds", type=int, default=5, help="rounds of each measurement")
    env.add_argument("--device", help="cpu or cuda:N; the first GPU, or else the CPU, if not given")
    env.add_argument("--json", type=Path, help="file for everything measured")
    env.set_defaults(run=env_benchmark)
    return parser.parse_args()


def env_benchmark(args: argparse.Namespace) -> None:
    """Steps Mmnav-Reach (26 obstacles and four walls, four depth views of 16x16 px) with random actions.

    Beside it stands an env of ten kinematic bodies under MuJoCo-Warp with a contact sensor and a ray caster of 180
    rays, stepped alike. Last comes the training loop: collecting 24 steps of each env, then PPO's update. Every env has
    a process of its own; their rounds take turns.
    """
    from mmnav_tasks import launch

    for flag, values in {"--envs": args.envs, "--train_envs": [args.train_envs], "--rounds": [args.rounds]}.items():
        for value in values:
            launch.positive(flag, value)
    device = launch.device_name(args.device)
    if args.json:
        if args.json.is_dir():
            raise UserError(f"--json {args.json} is a folder; name a file.")
        launch.writable_folder("--json", args.json.parent)

    from rich.console import Console
    from rich.progress import Progress

    from mmnav.evaluate import write_atomically
    from mmnav_tasks.benchmark import measure_env

    with tempfile.TemporaryDirectory() as logs, Progress(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("starting", total=(args.rounds + 1) * (len(args.envs) + 2))
        on_step = lambda doing: bar.update(row, advance=1, description=doing)  # noqa: E731
        result = measure_env(args.envs, args.train_envs, args.rounds, device, Path(logs), on_step)
    if args.json:
        write_atomically(args.json, json.dumps(result, indent=2) + "\n")
    show(result)


def show(result: dict) -> None:
    """Prints the machine, the measurements and the ratio."""
    from rich.console import Console
    from rich.table import Table

    machine, rounds = result["machine"], len(result["ours_to_stock"]["rounds"])
    table = Table(title=f"Medians of {rounds} rounds on {result['device']}", title_justify="left")
    for column in ("measured", "envs", "env-steps/s", "min", "max", "busy cores"):
        table.add_column(column, justify="left" if column == "measured" else "right")
    for row in result["results"]:
        rate = row["env_steps_per_second"]
        cells = (str(row["envs"]), *(f"{rate[key]:,.0f}" for key in ("median", "min", "max")))
        table.add_row(describe(row), *cells, f"{row['busy_cores']['median']:.2f}")
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=140)).print(table)
    first, ratio = result["results"][0]["envs"], result["ours_to_stock"]
    print(f"ours / stock at {first} envs: {ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})")
    print(f"machine: {', '.join([machine['cpu'], *machine['gpus']])}, {machine['cores']} cores,", end=" ")
    print("load average before", *(f"{load:.1f}" for load in machine["load_average"]), end=", ")
    print(f"{result['results'][0]['torch_threads']} torch threads")
    print("versions:", ", ".join(f"{name} {number}" for name, number in machine["versions"].items()))


def describe(row: dict) -> str:
    """What a row measured."""
    if row["name"] == "stock_stepping":
        return f"stock, stepping: {row['bodies']} bodies, {row['rays']} rays"
    views = "x".join(map(str, row["depth_views"]))
    if row["name"] == "stepping":
        return f"ours, stepping: {row['primitives']:.1f} primitives, {views} depth"
    share = 100.0 * row["collect_share"]["median"]
    return f"ours, training: collect {share:.0f} %, learn {100.0 - share:.0f} % of the time"


def main() -> None:
    """Runs the benchmark that the user names."""
    args = parse()
    args.run(args)


if __name__ == "__main__":
    run_main(main)
