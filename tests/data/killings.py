"""Writers that are killed, for test_kill.py: forked, so that a writer needs no second to start.

    python killings.py FOLDER random COUNT   kills after random times, ten in each folder
    python killings.py FOLDER points          kills at every step of writing a shard

After each kill it reads the folder and prints ``FOUND`` with what it holds; then another writer goes on there.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from numbered import assert_same, numbered_demo

import mmnav.data.shards as shards
from mmnav.data import ShardWriter, read_demos, read_index, verify

EPISODES_A_SHARD = 3
POINTS = ("_image", "open", "fsync", "describe_shard", "replace", "_sync_folder", "_append", "truncate", "torn")
"""Where a writer dies: on its way into each of these; ``torn`` has written half a line of the index."""


def write_for_ever(folder: Path, acknowledge: int, limit: int = 10**9) -> None:
    """Writes numbered episodes, after those that are there; says the number of the last one that is safe."""
    first = sum(1 for _ in read_demos(folder)) if list(folder.glob("shard-*.h5")) else 0
    with ShardWriter(folder, {"env_name": "Killed"}, episodes_a_shard=EPISODES_A_SHARD) as writer:
        for number in range(first, first + limit):
            if writer.write(numbered_demo(number)):
                os.write(acknowledge, f" {number}\n".encode())


def die(*_args, **_kwargs) -> None:
    """Ends this process as a kill does: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def lay_trap(point: str) -> None:
    """Makes this process die at a point of writing a shard."""
    if point == "_image":
        ShardWriter._image = die
    elif point in ("fsync", "replace"):
        setattr(os, point, die)
    elif point == "open":
        Path.open = die
    elif point == "truncate":
        shards.fcntl.flock = die
    elif point == "torn":

        def tear(path: Path, line: str) -> None:
            with path.open("a") as file:
                file.write(line[: len(line) // 2])
            die()

        shards._append = tear
    else:
        setattr(shards, point, die)


def run_child(work) -> tuple[int, int]:
    """Forks; returns the child's number and the end of the pipe that it writes to."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with contextlib.suppress(BaseException):
            work(writing)
        os._exit(1)
    os.close(writing)
    return child, reading


def last_words(child: int, reading: int) -> tuple[int, bool]:
    """Number of acknowledged episodes, and whether the child was killed."""
    with os.fdopen(reading) as pipe:
        said = pipe.read().split()
    _, status = os.waitpid(child, 0)
    return int(said[-1]) + 1 if said else 0, os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def look(folder: Path, acknowledged: int, killed: bool, **more) -> None:
    """Prints what a kill left in a folder."""
    found = list(read_demos(folder)) if list(folder.glob("shard-*.h5")) else []
    for number, demo in enumerate(found):
        assert_same(demo, numbered_demo(number))
    problems = [verdict.problem for verdict in verify(folder) if verdict.problem] if found else []
    row = {"acknowledged": acknowledged, "found": len(found), "killed": killed, "problems": problems}
    print("FOUND " + json.dumps(row | {"indexed": len(read_index(folder))} | more), flush=True)


def kill_at_random(root: Path, count: int) -> None:
    draws = random.Random(0)
    for i in range(count):
        folder = root / f"folder {i // 10}"
        folder.mkdir(exist_ok=True)
        child, reading = run_child(lambda pipe, folder=folder: write_for_ever(folder, pipe))
        os.read(reading, 1)  # the first shard is acknowledged: however busy the machine, the writer is at work
        time.sleep(draws.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        said, killed = last_words(child, reading)
        look(folder, said, killed, place=i % 10)


def kill_at_points(root: Path) -> None:
    for point in POINTS:
        folder = root / point
        child, reading = run_child(lambda pipe, folder=folder: write_for_ever(folder, pipe, 3))
        before, _ = last_words(child, reading)

        def work(pipe: int, folder: Path = folder, point: str = point) -> None:
            flush = ShardWriter.flush
            ShardWriter.flush = lambda writer: (lay_trap(point), flush(writer))
            write_for_ever(folder, pipe)

        child, reading = run_child(work)
        _, killed = last_words(child, reading)
        look(folder, before, killed, point=point)
        child, reading = run_child(lambda pipe, folder=folder: write_for_ever(folder, pipe, 3))
        said, _ = last_words(child, reading)
        look(folder, said, False, point=f"{point}, gone on", left=len(list(folder.glob(".shard-*"))))


if __name__ == "__main__":
    if sys.argv[2] == "points":
        kill_at_points(Path(sys.argv[1]))
    else:
        kill_at_random(Path(sys.argv[1]), int(sys.argv[3]))
