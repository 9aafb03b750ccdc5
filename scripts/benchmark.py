"""Measures on this machine: ratios within one run, medians of several rounds, with the machine and the versions.

    ./isaaclab.sh -p scripts/benchmark.py env --json env.json

Measure on an idle machine; the load average before the run is printed. What there is to measure:

    env      stepping and training, beside an env made of Isaac Lab's own parts
    rig      the cameras, beside other renderers of the same worlds
    student  its control step, its training, and rendering's share, beside plain transformers
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import _checkout
from mmnav.errors import UserError, run_main

ROOT = Path(_checkout.__file__).resolve().parents[1]


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Raises what is wrong instead of printing the usage as well."""
        raise UserError(message)


def parse() -> argparse.Namespace:
    """The user's words."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="benchmark", metavar="benchmark", required=True)

    def add(name: str, about: str, run: Callable, rounds: int) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=run.__doc__)
        command.add_argument("--rounds", type=int, default=rounds, help="rounds of each measurement")
        command.add_argument("--json", type=Path, help="file for everything measured")
        command.set_defaults(run=run)
        return command

    env = add("env", "stepping and training, beside the stock way", env_benchmark, 5)
    env.add_argument("--envs", type=int, nargs="+", default=[64, 1024, 4096], help="sizes; stock is run at the first")
    env.add_argument("--train_envs", type=int, default=512, help="envs of the training loop")
    env.add_argument("--device", help="cpu or cuda:N; the first GPU, or else the CPU, if not given")
    rig = add("rig", "the cameras, beside other renderers", rig_benchmark, 7)
    rig.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="pixels along a side of each view")
    rig.add_argument("--no-scales", action="store_true", help="leave out how it scales")
    student = add("student", "the student's speed, beside plain transformers", student_benchmark, 5)
    student.add_argument("--scale", default="nano", help="nano or nano-siglip")
    return parser.parse_args()


def env_benchmark(args: argparse.Namespace) -> None:
    """Steps Mmnav-Reach (26 obstacles and four walls, four depth views of 16x16 px) with random actions.

    Beside it stands an env of ten kinematic bodies under MuJoCo-Warp with a contact sensor and a ray caster of 180
    rays, stepped alike. Last comes the training loop: collecting 24 steps of each env, then PPO's update. Every env has
    a process of its own; their rounds take turns.
    """
    from mmnav_tasks import launch

    check(args, "--envs", "--train_envs", "--rounds")
    device = launch.device_name(args.device)

    from mmnav_tasks.benchmark.env import measure_env, show

    with tempfile.TemporaryDirectory() as logs, progress((args.rounds + 1) * (len(args.envs) + 2)) as on_step:
        result = measure_env(args.envs, args.train_envs, args.rounds, device, Path(logs), on_step)
    finish(result, args.json, show)


def rig_benchmark(args: argparse.Namespace) -> None:
    """Renders 64 worlds of 30 primitives, four cameras each, in turns with everybody who can.

    Newton's SensorTiledCamera, Isaac Lab's Camera, Embree (embreex; packets of 16 in C where a compiler and
    libembree-dev are) and MuJoCo's mj_multiRay draw the same frame; what is built once for a static scene is built
    before, but ours makes its tables anew in every frame. All on one thread, in CPU time. Then come the tables' share,
    the gain by threads, how it scales, and the registers that NVRTC needs.
    """
    check(args, "--sizes", "--rounds")

    from mmnav_tasks.benchmark.rig import measure_rig, show

    with progress(None) as on_step:
        result = measure_rig(args.sizes, args.rounds, not args.no_scales, on_step)
    finish(result, args.json, show)


def student_benchmark(args: argparse.Namespace) -> None:
    """Drives one robot on one core with a cached history, and learns with all of them.

    Learning is that of a distillation, from cached features (ours, with the paper's tokens, by plain transformers) and
    end to end from frames, which are rendered. Rendering, encoding and deciding for 64 robots tell what a student's
    part of a rollout is made of; weights are drawn.
    """
    from mmnav.distill.settings import load_settings
    from mmnav_tasks.benchmark.student import check_scale, measure_student, show

    check(args, "--rounds")
    check_scale(args.scale)
    cfg = load_settings(ROOT / "config" / "distill" / f"{args.scale}.yaml").run
    with progress((args.rounds + 1) * 9) as on_step:
        result = measure_student(args.scale, cfg, args.rounds, on_step)
    finish(result, args.json, show)


def check(args: argparse.Namespace, *flags: str) -> None:
    """Checks the counts that flags give, and that the JSON file can be written."""
    from mmnav_tasks import launch

    for flag in flags:
        values = getattr(args, flag[2:])
        for value in values if isinstance(values, list) else [values]:
            launch.positive(flag, value)
    if args.json:
        if args.json.is_dir():
            raise UserError(f"--json {args.json} is a folder; name a file.")
        launch.writable_folder("--json", args.json.parent)


@contextlib.contextmanager
def progress(total: int | None) -> Iterator[Callable[[str], None]]:
    """A bar on the error stream; yields what is to be told what is being done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("starting", total=total)
        yield lambda doing: bar.update(row, advance=1, description=doing)


def finish(result: dict, path: Path | None, show: Callable[[dict], None]) -> None:
    """Writes and prints what was measured."""
    from mmnav.files import write_atomically

    if path:
        write_atomically(path, json.dumps(result, indent=2) + "\n")
    show(result)


def main() -> None:
    """Runs the benchmark that the user names."""
    args = parse()
    args.run(args)


if __name__ == "__main__":
    run_main(main)
