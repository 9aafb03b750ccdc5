"""From a user's words to a running env: checks first, the simulator last."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from mmnav.errors import UserError, choose

from . import TASKS

PHYSICS = ("kinematic", "ovphysx", "isaacsim_physx")
"""Physics presets, the default first; :mod:`mmnav_tasks.physics` says what they are."""


def task_name(word: str, tasks: tuple[str, ...] = TASKS) -> str:
    """The short name of a task given as ``Squeeze``, ``squeeze`` or ``Mmnav-Squeeze``.

    Raises:
        UserError: If there is no such task.
    """
    names = {task.lower(): task for task in tasks}
    short = word.lower().removeprefix("mmnav-")
    return names[short] if short in names else choose("task", word, {task: task for task in tasks})


def physics_name(word: str) -> str:
    """Checks the name of a physics preset.

    Raises:
        UserError: If there is no such preset, or it needs Isaac Sim and Isaac Sim is not installed.
    """
    choose("physics", word, {name: name for name in PHYSICS})
    if word == "isaacsim_physx":
        from importlib.util import find_spec

        if find_spec("isaacsim") is None:
            raise UserError(
                "--physics isaacsim_physx needs Isaac Sim, which this environment lacks; kinematic and ovphysx do not."
            )
    return word


def device_name(word: str | None) -> str:
    """Checks a device; the first GPU, or else the CPU, if none is given.

    Raises:
        UserError: If it is no device or not there.
    """
    if word is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(word)
    except RuntimeError:
        raise UserError(f"--device {word!r} is no device; use cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {word!r}: only cpu and cuda:N are supported.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {word!r}: this machine has {torch.cuda.device_count()} CUDA devices.")
    return "cuda:0" if word == "cuda" else word


def positive(flag: str, value: int | None) -> int | None:
    """Checks that a count is at least one.

    Raises:
        UserError: If it is not.
    """
    if value is not None and value < 1:
        raise UserError(f"{flag} must be at least 1, not {value}.")
    return value


def writable_folder(flag: str, path: Path, free_bytes: int = 50_000_000) -> Path:
    """Makes a folder and checks that files can be written there.

    Raises:
        UserError: If it cannot be made or written, or the disk has less than ``free_bytes`` left.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
        status = os.statvfs(path)
    except OSError as error:
        raise UserError(f"{flag} {path}: cannot write there ({error.strerror}).") from None
    if status.f_bavail * status.f_frsize < free_bytes:
        raise UserError(f"{flag} {path}: less than {free_bytes // 10**6} MB are free there.")
    return path


def task_config(task: str, physics: str = "kinematic", overrides: list[str] | tuple[str, ...] = ()):
    """Composes a task's env and agent configurations, as ``isaaclab train`` does.

    Args:
        task: Short name of the task.
        physics: Physics preset.
        overrides: Isaac Lab's Hydra words, such as ``env.rewards.collision.weight=-4`` or ``agent.seed=3``.

    Returns:
        The env configuration and the agent configuration.

    Raises:
        UserError: If an override does not fit.
    """
    from isaaclab_rl.rsl_rl import handle_deprecated_rsl_rl_cfg
    from isaaclab_tasks.utils.hydra import resolve_task_config

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            env_cfg, agent_cfg = resolve_task_config(
                f"Mmnav-{task}", "rsl_rl_cfg_entry_point", overrides=[f"physics={physics}", *overrides]
            )
        return env_cfg, handle_deprecated_rsl_rl_cfg(agent_cfg, version("rsl-rl-lib"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the words {' '.join(overrides)!r} do not fit the task {task}: {error}") from error


@contextlib.contextmanager
def running_env(task: str, cfg, *, log: Path | None = None, viz: str | None = None) -> Iterator:
    """Starts the simulator and makes the env; both are closed at the end.

    Args:
        task: Short name of the task.
        cfg: Its resolved env configuration; ``cfg.sim.device`` and ``cfg.scene.num_envs`` are taken as they are.
        log: File for what the simulator prints while it starts; printed as usual if None.
        viz: Isaac Lab's visualizer (kit, newton, rerun, viser); none if None.

    Yields:
        The Gymnasium env.
    """
    import gymnasium as gym
    import warp as wp
    from isaaclab.app import launch_simulation

    wp.config.quiet = True
    words = argparse.Namespace(device=cfg.sim.device, visualizer=[viz] if viz else None, physics=None)
    with launch_simulation(cfg, words):
        with contextlib.ExitStack() as stack:
            if log is not None:
                file = stack.enter_context(log.open("a"))
                stack.enter_context(contextlib.redirect_stdout(file))
                stack.enter_context(contextlib.redirect_stderr(file))
            env = gym.make(f"Mmnav-{task}", cfg=cfg)
        try:
            yield env
        finally:
            env.close()
