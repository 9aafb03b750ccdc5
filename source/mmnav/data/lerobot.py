"""Export to LeRobotDataset v3.0: what the frames showed is rendered again and written by the package lerobot itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UserError
from ..robot import VIEWS
from .demo import Demo

TASKS = {
    "Reach": "Go to the goal through clutter",
    "Squeeze": "Go to the goal through narrow gaps",
    "Avoid": "Go to the goal and avoid what moves",
    "Mixed": "Go to the goal through clutter and narrow gaps, and avoid what moves",
}
"""What is asked for, by scene family; where the goal is changes with every step and is in the state."""


def dataset_features(width: int, height: int) -> dict[str, dict]:
    """The dataset's columns: four views in colour, the base's velocity, the goal, and the expert's action."""
    image = {"dtype": "image", "shape": (height, width, 3), "names": ["height", "width", "channels"]}
    velocity = {"dtype": "float32", "shape": (3,), "names": ["vx", "vy", "yaw_rate"]}
    return {
        **{f"observation.images.{view}": image for view in VIEWS},
        "observation.state": velocity,
        "observation.environment_state": {"dtype": "float32", "shape": (2,), "names": ["goal_ahead", "goal_left"]},
        "action": velocity,
    }


def check_export(folder: Path):
    """Checks what an export needs; returns the class ``LeRobotDataset``.

    Raises:
        UserError: If the package is not installed, or the folder is there already.
    """
    if Path(folder).exists():
        raise UserError(f"{folder} is there already; name another folder.")
    try:
        from lerobot.datasets import LeRobotDataset
    except ImportError as error:
        raise UserError(
            f"an export needs the package lerobot, which this environment lacks ({error}). It wants older versions than"
            " Isaac Lab does: make another environment, there `uv pip install -e '.[lerobot]'`, and use its own"
            " `python`."
        ) from error
    return LeRobotDataset


def export_lerobot(
    demos: Sequence[Demo],
    folder: Path,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
) -> None:
    """Writes episodes as a LeRobotDataset v3.0 with lossless images.

    Actions are the expert's, also where a student drove. Every episode has a look of its own, by ``seed`` and its
    place in ``demos``.

    Args:
        demos: The episodes.
        folder: Folder to make; it is complete or not there.
        size: Width and height of the views [px].
        seed: Seed of the looks.
        on_step: Called after every step.

    Raises:
        UserError: If lerobot is not installed, the folder is there already, or the steps differ in duration.
    """
    dataset_class, folder = check_export(folder), Path(folder)
    import datasets  # lerobot's own dependency

    rate = frame_rate(demos)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    datasets.disable_progress_bars()  # of every episode
    try:
        dataset = dataset_class.create(
            repo_id=f"mmnav/{folder.name}",
            fps=rate,
            features=dataset_features(*size),
            root=part,
            robot_type="mmnav",
            use_videos=False,
        )
        _write(dataset, demos, size, seed, on_step)
        dataset.finalize()
        os.replace(part, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}).") from error
    finally:
        datasets.enable_progress_bars()
        shutil.rmtree(part, ignore_errors=True)


def frame_rate(demos: Sequence[Demo]) -> int:
    """Steps a second, the same in all episodes.

    Raises:
        UserError: If there is none, or they differ.
    """
    rates = {round(1.0 / demo.step) for demo in demos if len(demo) > 1}
    if len(rates) != 1:
        raise UserError(
            f"the episodes have {sorted(rates) or 'no known number of'} steps a second; it must be one number."
        )
    return rates.pop()


def _write(dataset, demos: Sequence[Demo], size: tuple[int, int], seed: int, on_step) -> None:
    """Adds every step of every episode."""
    from .pixels import render_episodes  # not needed to find out that lerobot is missing, and slow to import

    images = render_episodes(demos, size, seed)
    for demo in demos:
        for t in range(len(demo)):
            views = next(images)
            dataset.add_frame(
                {
                    **{f"observation.images.{name}": views[i] for i, name in enumerate(VIEWS)},
                    "observation.state": demo.velocity[t],
                    "observation.environment_state": demo.goal[t],
                    "action": demo.expert_action[t],
                    "task": TASKS[demo.family],
                }
            )
            if on_step is not None:
                on_step()
        dataset.save_episode()
