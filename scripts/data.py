"""Looks at recorded episodes, checks them, joins them, shows them, and hands them on.

    ./isaaclab.sh -p scripts/data.py inspect EPISODES
    ./isaaclab.sh -p scripts/data.py verify EPISODES
    ./isaaclab.sh -p scripts/data.py merge EPISODES MORE --out all.h5
    ./isaaclab.sh -p scripts/data.py video EPISODES --episode 7 --out seven.mp4
    python scripts/data.py export-lerobot EPISODES --out FOLDER

EPISODES is a folder of shards or one file. ``verify`` ends with 1 if anything is wrong. The last one is for an
environment without Isaac Lab: ``uv pip install -e '.[lerobot]'`` makes it.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from itertools import islice
from pathlib import Path

import _checkout  # noqa: F401
from mmnav.errors import UserError, check_folder, check_new_file, run_main


def parse() -> argparse.Namespace:
    """The user's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(run, name: str, told: str, paths: str | None = None) -> argparse.ArgumentParser:
        words = commands.add_parser(name, help=told, description=told)
        words.add_argument("path", type=Path, nargs=paths, help="folder of shards, or a file")
        words.set_defaults(run=run)
        return words

    command(inspect, "inspect", "a table of what is there")
    command(verify, "verify", "checks every byte: checksums, layout, finite numbers")
    command(merge, "merge", "joins episodes into one HDF5 file of robomimic's layout", "+")
    words = command(video, "video", "an episode rendered again as MP4: the robot's trail on the map beside its views")
    words.add_argument("--episode", type=int, default=0, help="number of the episode, from 0")
    words = command(export_lerobot, "export-lerobot", "a folder with a LeRobotDataset v3.0, frames rendered again")
    words.add_argument("--size", type=int, default=64, help="width and height of every view [px]")
    words.add_argument("--episodes", type=int, default=sys.maxsize, help="how many, from the first")
    for name in ("merge", "video", "export-lerobot"):
        commands.choices[name].add_argument("--out", type=Path, required=True, help="what to write")
    for name in ("merge", "video"):
        commands.choices[name].add_argument("--overwrite", action="store_true", help="replace a file that is there")
    for name in ("video", "export-lerobot"):
        commands.choices[name].add_argument("--seed", type=int, default=0, help="seed of the looks")
    return parser.parse_args()


def inspect(args: argparse.Namespace) -> None:
    """Prints how much there is of what."""
    from mmnav.data.shards import read_headings, shard_paths

    paths = shard_paths(args.path)
    kinds = defaultdict(list)
    for path in paths:
        for heading in read_headings(path):
            kinds[heading.family, heading.outcome].append(heading)

    from rich.console import Console
    from rich.table import Table

    everything = [heading for group in kinds.values() for heading in group]
    size, steps = sum(path.stat().st_size for path in paths), sum(heading.steps for heading in everything) or 1
    title = f"{len(paths)} files, {size / 1e6:.1f} MB, {size / steps:.0f} bytes a step"
    table = Table("family", "outcome", "labelled by", title=title)
    for name in ("episodes", "steps", "minutes", "steps an episode", "by the expert [%]"):
        table.add_column(name, justify="right")
    for (family, outcome), group in [*sorted(kinds.items()), (("all", ""), everything)]:
        total = sum(heading.steps for heading in group)
        table.add_row(
            *(family, outcome, ", ".join(sorted({heading.labels for heading in group}))),
            *(f"{len(group):,}", f"{total:,}", f"{sum(heading.seconds for heading in group) / 60:.1f}"),
            f"{total / max(len(group), 1):.1f}",
            f"{100 * sum(heading.expert_steps for heading in group) / max(total, 1):.1f}",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    with_pixels = sum(heading.has_pixels for heading in everything)
    print(f"Pixels are inside {with_pixels} of {len(everything)} episodes; what others show is rendered again.")


def verify(args: argparse.Namespace) -> None:
    """Prints a line for everything that is wrong."""
    from mmnav.data import verify

    for verdict in (verdicts := list(verify(args.path))):
        if verdict.problem or verdict.note:
            print(f"{verdict.path}: {verdict.problem or 'note: ' + verdict.note}")
    bad = sum(verdict.problem is not None for verdict in verdicts)
    print(f"{sum(verdict.episodes for verdict in verdicts)} episodes can be read; problems: {bad}.")
    sys.exit(1 if bad else 0)


def merge(args: argparse.Namespace) -> None:
    """Writes one file."""
    check_folder("--out", args.out)
    check_new_file("--out", args.out, args.overwrite)
    from mmnav.data import merge

    print(f"Wrote {merge(args.path, args.out)} episodes to {args.out}.")


def video(args: argparse.Namespace) -> None:
    """Renders an episode and writes the film."""
    if args.out.suffix != ".mp4":
        raise UserError(f"--out {args.out}: the name must end with .mp4.")
    check_folder("--out", args.out)
    check_new_file("--out", args.out, args.overwrite)
    from mmnav.data.shards import read_episode

    if len(demo := read_episode(args.path, args.episode)) < 2:
        raise UserError(f"episode {args.episode} has one step; nothing moves in it.")
    import warp as wp

    from mmnav.data.pixels import record_again
    from mmnav.evaluate.video import write_video
    from mmnav.rig import FISHEYE_RIG

    wp.config.log_level = wp.LOG_WARNING
    recording = record_again(demo, f"{args.path}, episode {args.episode}", args.seed)
    write_video(args.out, [recording], FISHEYE_RIG.max_range)
    print(f"Wrote {args.out}: {demo.family}, {demo.outcome} after {len(demo) * demo.step:.1f} s.")


def export_lerobot(args: argparse.Namespace) -> None:
    """Writes a dataset for lerobot."""
    check_folder("--out", args.out)
    if not 8 <= args.size <= 1024 or args.episodes < 1:
        raise UserError(f"--size {args.size} must lie between 8 and 1024, and --episodes be at least 1.")
    import warp as wp
    from rich.console import Console
    from rich.progress import Progress

    from mmnav.data import read_demos
    from mmnav.data.lerobot import check_export, export_lerobot

    check_export(args.out)
    wp.config.log_level = wp.LOG_WARNING
    demos = list(islice(read_demos(args.path), args.episodes))
    with Progress(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("exporting", total=sum(map(len, demos)))
        export_lerobot(demos, args.out, (args.size, args.size), args.seed, lambda: bar.advance(row))
    print(f"Wrote {len(demos)} episodes of {sum(map(len, demos))} steps to {args.out}.")


if __name__ == "__main__":
    args = parse()
    run_main(lambda: args.run(args))
