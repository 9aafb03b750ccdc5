"""Measures the rig: beside other renderers, its tables' share, its threads, and how it scales."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from rich.table import Table

from mmnav.rig import Rig, kernels, random_day

from .cubin import registers
from .machine import machine, print_table, spread, tell_machine
from .renderers import PEERS, Contender, Frame, make_frame, ours

PACKAGES = ("isaaclab", "newton", "warp-lang", "torch", "embreex", "mujoco")

SCALES = {
    "envs": [(count, 64, 26) for count in (1, 16, 64, 256, 1024, 4096)],
    "primitives": [(64, 64, count) for count in (6, 26, 56)],
    "resolution": [(64, size, 26) for size in (16, 32, 64, 128, 256)],
}
"""What the rig is scaled over: envs, pixels along a side, obstacles besides the four walls."""

TURN_SECONDS = 0.2
"""CPU time of a turn; a frame of ours is done in 2 ms, too little for one look at the clock."""

ENVS = 64
"""Worlds of the frame that renderers are compared on."""

ARCHS = (86, 90)
"""CUDA architectures that the kernels are compiled for."""


def measure_rig(sizes: list[int], rounds: int, scales: bool, on_step: Callable[[str], None]) -> dict:
    """Measures everything.

    Args:
        sizes: Pixels along a side of the views that renderers are compared at.
        rounds: Rounds of each measurement.
        scales: Whether to measure how the rig scales too.
        on_step: Told what is being done.

    Returns:
        Machine and results: plain data.
    """
    from .isaac_lab import isaac_lab_cameras  # takes seconds to import

    result = {"benchmark": "rig", "machine": machine(PACKAGES), "tables": [], "threads": [], "renderers": []}
    for size in sizes:  # before Isaac Lab starts threads that take turns on the cores
        on_step(f"{size} px: tables and threads")
        frame = make_frame(ENVS, size)
        result["tables"].append(tables(frame, rounds) | {"size": size})
        result["threads"] += [threads(frame, rounds, color) | {"size": size} for color in (True, False)]
    result["scales"] = list(scale(rounds, on_step)) if scales else []
    on_step("compiling for GPUs")
    result["registers"] = {f"sm_{arch}": registers(kernels.__name__, arch) for arch in ARCHS}
    with one_torch_thread():
        for size in sizes:
            frame = make_frame(ENVS, size)
            with ExitStack() as stack:
                contenders = list(ours(frame))
                for make in PEERS:
                    on_step(f"{size} px: preparing {make.__name__}")
                    contenders += make(frame)
                on_step(f"{size} px: preparing Isaac Lab's cameras")
                contenders += isaac_lab_cameras(frame, stack)
                rows = compare(contenders, rounds, on_step)
            result["renderers"] += [row | {"size": size, "envs": ENVS} for row in rows]
    return result


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keeps torch to the calling thread, whose CPU time is what counts."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def compare(
    contenders: list[Contender],
    rounds: int,
    on_step: Callable[[str], None],
    clock: Callable[[], float] = time.thread_time,
) -> list[dict]:
    """Renders in turns, after one frame each to warm up.

    Args:
        contenders: Who renders; the first of each output that is named mmnav is what the others are compared with.
        rounds: Rounds; in each, every contender renders frames for :data:`TURN_SECONDS`, at least one.
        on_step: Told what is being done.
        clock: CPU time of this thread [s]; whoever renders in others is flattered.

    Returns:
        A row each: renderer, output, median CPU-seconds a frame, Mpx per CPU-second, and how many times our CPU time a
        pixel it takes (median, least and most of the ratios taken round by round).
    """
    seconds = [[] for _ in contenders]
    for contender in contenders:
        on_step(f"warming up {contender.renderer}, {contender.output}")
        contender.render()
    for number in range(1, rounds + 1):
        for contender, taken in zip(contenders, seconds, strict=True):
            on_step(f"round {number} of {contender.renderer}, {contender.output}")
            start, frames = clock(), 0
            while frames == 0 or clock() - start < TURN_SECONDS:
                contender.render()
                frames += 1
            taken.append((clock() - start) / frames)
    ours = {c.output: (c, taken) for c, taken in zip(contenders, seconds, strict=True) if c.renderer == "mmnav"}
    rows = []
    for contender, taken in zip(contenders, seconds, strict=True):
        base, base_taken = ours[contender.output]
        share = contender.pixels / base.pixels
        ratios = [theirs / (ours * share) for theirs, ours in zip(taken, base_taken, strict=True)]
        rows.append(
            {
                "renderer": contender.renderer,
                "output": contender.output,
                "pixels": contender.pixels,
                "cpu_seconds": statistics.median(taken),
                "mpx_per_cpu_second": contender.pixels / statistics.median(taken) / 1e6,
                "ratio": spread(ratios),
            }
        )
    return rows


def tables(frame: Frame, rounds: int) -> dict:
    """How much of a depth frame goes into its tables, in CPU time, on one thread."""
    rig = Rig(frame.cfg, frame.scene, threads=1)
    rig.render_depth(frame.position, frame.orientation, frame.scene.position)
    seconds = {stages: [] for stages in (("place", "mask"), ("trace",))}
    for _ in range(rounds):
        for stages, times in seconds.items():
            start = time.thread_time()
            for _ in range(5):
                rig.run(stages)
            times.append((time.thread_time() - start) / 5)
    shares = [a / (a + b) for a, b in zip(*seconds.values(), strict=True)]
    return {"share": spread(shares), "seconds": spread(seconds["place", "mask"])}


def threads(frame: Frame, rounds: int, color: bool) -> dict:
    """How much sooner a frame is done with all threads than with one, in wall time."""
    given = (frame.position, frame.orientation, frame.scene.position)
    rigs = [Rig(frame.cfg, frame.scene, look=random_day(), threads=count) for count in (1, None)]
    renders = [rig.render if color else rig.render_depth for rig in rigs]
    wall = [[], []]
    for number in range(rounds + 1):
        for render, times in zip(renders, wall, strict=True):
            start = time.perf_counter()
            render(*given)
            if number:
                times.append(time.perf_counter() - start)
    speedups = [one / many for one, many in zip(*wall, strict=True)]
    return {"color": color, "threads": rigs[1].thread_count, "speedup": spread(speedups)}


def scale(rounds: int, on_step: Callable[[str], None]) -> Iterator[dict]:
    """Mpx per CPU-second over envs, primitives and resolution, on one thread."""
    for axis, points in SCALES.items():
        for envs, size, obstacles in points:
            on_step(f"{axis}: {envs} envs, {size} px, {obstacles + 4} primitives")
            for row in compare(list(ours(make_frame(envs, size, obstacles))), rounds, on_step):
                yield row | {"axis": axis, "envs": envs, "size": size, "primitives": obstacles + 4}


def show(result: dict) -> None:
    """Prints everything measured."""
    for size in dict.fromkeys(row["size"] for row in result["renderers"]):
        rows = [row for row in result["renderers"] if row["size"] == size]
        title = f"{rows[0]['envs']} envs x 30 primitives x 4 cameras of {size}x{size} px, one thread of each"
        table = _table(title, "renderer", "output", "Mpx per CPU-second", "CPU time, it to ours", "least", "most")
        for row in rows:
            ratios = (f"{row['ratio'][key]:.2f}" for key in ("median", "min", "max"))
            table.add_row(row["renderer"], row["output"], f"{row['mpx_per_cpu_second']:.4g}", *ratios)
        print_table(table)
    for row in result["tables"]:
        share = row["share"]
        print(f"tables in a depth frame at {row['size']} px: {100 * share['median']:.1f} % of its CPU time")
    for row in result["threads"]:
        speed, output = row["speedup"], "rgb + shadows + depth" if row["color"] else "depth"
        print(
            f"{row['threads']} threads against one at {row['size']} px, {output}: {speed['median']:.2f} times as fast"
            f" ({speed['min']:.2f} to {speed['max']:.2f})"
        )
    for axis in dict.fromkeys(row["axis"] for row in result["scales"]):
        rows = [row for row in result["scales"] if row["axis"] == axis]
        outputs = list(dict.fromkeys(row["output"] for row in rows))
        table = _table(f"Over {axis}: Mpx per CPU-second", "envs", "px", "primitives", *outputs)
        for point in dict.fromkeys((row["envs"], row["size"], row["primitives"]) for row in rows):
            rates = [r["mpx_per_cpu_second"] for r in rows if (r["envs"], r["size"], r["primitives"]) == point]
            table.add_row(*map(str, point), *(f"{rate:.4g}" for rate in rates))
        print_table(table)
    for arch, found in result["registers"].items():
        print(f"registers on {arch}:", ", ".join(f"{name} {count}" for name, count in (found or {}).items()))
    tell_machine(result["machine"], torch.get_num_threads())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("renderer", "output") else "right")
    return table
