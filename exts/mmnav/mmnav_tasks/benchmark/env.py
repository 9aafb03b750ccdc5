"""Measures envs, each in a process of its own that runs one round whenever it is asked for one.

The rounds of several processes take turns, so that whatever slows the machine down for a while slows all of them down.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.table import Table

from mmnav.scenes import Kind, ReachCfg

from .machine import machine, print_table, spread, tell_machine

DEPTH_VIEWS = (16, 16)
"""Width and height of each of the four depth views that are measured [px]."""

LAYOUT = ReachCfg(obstacles=(26, 26))
"""The layouts that are measured: 26 obstacles and four walls; the few that find no free place are left out."""

BLOCK_STEPS = 10
"""Steps between two looks at the clock; twice as many warm an env up."""

ROUND_SECONDS = 2.0
"""A round of stepping lasts at least that long [s]."""

PACKAGES = ("isaaclab", "newton", "mujoco-warp", "warp-lang", "torch", "rsl-rl-lib")


def measure_env(
    env_counts: list[int], train_envs: int, rounds: int, device: str, logs: Path, on_step: Callable[[str], None]
) -> dict:
    """Measures our task at several sizes, the stock task at the first of them, and the training loop.

    Args:
        env_counts: Numbers of envs that are stepped.
        train_envs: Number of envs that are trained on.
        rounds: Rounds of each; the ratio of ours to the stock task is taken round by round.
        device: Device of the simulations.
        logs: Folder for what the processes print.
        on_step: Told what is being done, once for every process and once for every round of it.

    Returns:
        Machine, settings, one result for each measurement, and the ratio: plain data.
    """
    result = {"benchmark": "env", "machine": machine(PACKAGES), "device": device}
    plan = [(stepping, count) for count in env_counts] + [(stock_stepping, env_counts[0]), (training, train_envs)]
    benches = []
    for measure, count in plan:
        on_step(f"warming up {measure.__name__} of {count} envs")
        benches.append(Bench(measure, count, device, logs / f"{measure.__name__}_{count}.log"))
    for number in range(1, rounds + 1):
        for bench in benches:
            on_step(f"round {number} of {bench.about['name']} of {bench.about['envs']} envs")
            bench.run()
    for bench in benches:
        bench.stop()
    rates = [[values["env_steps_per_second"] for values in bench.rounds] for bench in benches]
    ours, stock = rates[0], rates[len(env_counts)]
    result["results"] = [bench.result() for bench in benches]
    result["ours_to_stock"] = spread([a / b for a, b in zip(ours, stock, strict=True)])
    return result


class Bench:
    """A measurement in a process of its own: ``about`` says what is measured, ``rounds`` what came of it so far."""

    def __init__(self, measure: Callable[..., Iterator[dict]], env_count: int, device: str, log: Path):
        """Starts the process and waits until it is warm.

        Args:
            measure: :func:`stepping`, :func:`stock_stepping` or :func:`training`.
            env_count: Number of envs E.
            device: Device of the simulation.
            log: File for what the process prints.
        """
        context = multiprocessing.get_context("spawn")
        self._log = log
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, measure, env_count, device, log), daemon=True)
        self._process.start()
        theirs.close()
        self.about = {"name": measure.__name__, "envs": env_count} | self._ask()
        self.rounds: list[dict] = []

    def run(self) -> None:
        """Runs one more round."""
        self.rounds.append(self._ask())

    def stop(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join()

    def result(self) -> dict:
        """What was measured, and the spread of every number over the rounds."""
        keys = self.rounds[0]
        return self.about | {key: spread([values[key] for values in self.rounds]) for key in keys}

    def _ask(self) -> dict:
        """Has the process go on to its next result; raises RuntimeError with what it printed if it ended instead."""
        try:
            self._connection.send("go on")
            return self._connection.recv()
        except (EOFError, OSError):
            printed = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"the benchmark's process ended:\n{printed}") from None


def _serve(connection, measure: Callable[..., Iterator[dict]], env_count: int, device: str, log: Path) -> None:
    """Body of the process: a result for every request, until the other end closes."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):  # solvers print from native code, past sys.stdout
        os.dup2(descriptor, stream)
    with contextlib.closing(measure(env_count, device)) as results, contextlib.suppress(EOFError):
        while connection.recv():
            connection.send(next(results))


def stepping(env_count: int, device: str) -> Iterator[dict]:
    """Our task under random actions."""
    from ..launch import running_env

    env_cfg, _ = _task("Reach", env_count, device)
    env_cfg.layout, env_cfg.depth_views = LAYOUT, DEPTH_VIEWS
    with running_env("Reach", env_cfg) as env:
        rounds = _step_rounds(env.unwrapped)
        yield next(rounds) | _seen(env.unwrapped.world)
        yield from rounds


def stock_stepping(env_count: int, device: str) -> Iterator[dict]:
    """The stock task under random actions."""
    from isaaclab.app import launch_simulation
    from isaaclab.envs import ManagerBasedRLEnv

    from .stock import OBSTACLES, RAY_COUNT, StockEnvCfg

    cfg = StockEnvCfg(seed=0)
    cfg.sim.device, cfg.scene.num_envs = device, env_count
    with launch_simulation(cfg, argparse.Namespace(device=device, visualizer=None, physics=None)):
        with contextlib.closing(ManagerBasedRLEnv(cfg)) as env:
            rounds = _step_rounds(env)
            yield next(rounds) | {"bodies": len(OBSTACLES), "rays": RAY_COUNT}
            yield from rounds


def training(env_count: int, device: str) -> Iterator[dict]:
    """Squeeze's training loop, as it is, without evaluations: collecting, then learning; a round is an iteration."""
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper

    from ..agents.runner import ExpertRunner
    from ..launch import running_env

    env_cfg, agent_cfg = _task("Squeeze", env_count, device)
    with running_env("Squeeze", env_cfg) as env:
        runner = ExpertRunner(RslRlVecEnvWrapper(env), agent_cfg.to_dict(), None, device, "Squeeze")
        seconds = {}
        runner.logger.log = lambda **values: seconds.update(values)
        runner.learn(2, init_at_random_ep_len=True)
        steps = agent_cfg.num_steps_per_env
        yield {"torch_threads": torch.get_num_threads(), "steps": steps} | _seen(env.unwrapped.world)
        while True:
            cpu = time.process_time()
            runner.learn(1)
            total = seconds["collect_time"] + seconds["learn_time"]
            yield {
                "env_steps_per_second": env_count * steps / total,
                "collect_share": seconds["collect_time"] / total,
                "busy_cores": (time.process_time() - cpu) / total,
            }


def _task(task: str, env_count: int, device: str):
    """Configurations of our env, at full difficulty from the start, and of our agent."""
    from ..launch import task_config

    env_cfg, agent_cfg = task_config(task)
    env_cfg.curriculum = None
    env_cfg.seed, env_cfg.sim.device, env_cfg.scene.num_envs = 0, device, env_count
    agent_cfg.device = device
    return env_cfg, agent_cfg


def _seen(world) -> dict:
    """How many primitives a layout has in the mean, and the views [count, width, height]."""
    present, (_, height, columns) = (world.scene.kind != Kind.NONE).sum(-1), world.depth.shape
    return {"primitives": round(float(present.float().mean()), 1), "depth_views": [4, columns // 4, height]}


def _step_rounds(env) -> Iterator[dict]:
    """Steps an env with uniformly random actions; says first that it is warm."""

    def step() -> torch.Tensor:
        action = 2.0 * torch.rand(env.num_envs, 3, device=env.device) - 1.0
        _, _, terminated, truncated, _ = env.step(action)
        return (terminated | truncated).sum()

    with torch.inference_mode():
        env.reset()
        # random ages: resets then come evenly, as they do in training
        env.episode_length_buf = torch.randint_like(env.episode_length_buf, high=env.max_episode_length)
        for _ in range(2 * BLOCK_STEPS):
            step()
        yield {"torch_threads": torch.get_num_threads()}
        while True:
            steps, ended, seconds = 0, torch.zeros((), dtype=torch.long, device=env.device), 0.0
            started, cpu = _now(env.device), time.process_time()
            while seconds < ROUND_SECONDS:
                for _ in range(BLOCK_STEPS):
                    ended += step()
                steps += BLOCK_STEPS
                seconds = _now(env.device) - started
            yield {
                "env_steps_per_second": steps * env.num_envs / seconds,
                "busy_cores": (time.process_time() - cpu) / seconds,
                "episodes_per_step": float(ended) / (steps * env.num_envs),
            }


def _now(device: str) -> float:
    """Time [s], once the device has done all it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def show(result: dict) -> None:
    """Prints the machine, the measurements and the ratio."""
    rounds = len(result["ours_to_stock"]["rounds"])
    table = Table(title=f"Medians of {rounds} rounds on {result['device']}", title_justify="left")
    for column in ("measured", "envs", "env-steps/s", "min", "max", "busy cores"):
        table.add_column(column, justify="left" if column == "measured" else "right")
    for row in result["results"]:
        rate = row["env_steps_per_second"]
        cells = (str(row["envs"]), *(f"{rate[key]:,.0f}" for key in ("median", "min", "max")))
        table.add_row(_describe(row), *cells, f"{row['busy_cores']['median']:.2f}")
    print_table(table)
    first, ratio = result["results"][0]["envs"], result["ours_to_stock"]
    print(f"ours / stock at {first} envs: {ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})")
    tell_machine(result["machine"], result["results"][0]["torch_threads"])


def _describe(row: dict) -> str:
    """What a row measured."""
    if row["name"] == "stock_stepping":
        return f"stock, stepping: {row['bodies']} bodies, {row['rays']} rays"
    views = "x".join(map(str, row["depth_views"]))
    if row["name"] == "stepping":
        return f"ours, stepping: {row['primitives']:.1f} primitives, {views} depth"
    share = 100.0 * row["collect_share"]["median"]
    return f"ours, training: collect {share:.0f} %, learn {100.0 - share:.0f} % of the time"
