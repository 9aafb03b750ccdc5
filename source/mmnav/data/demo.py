"""Demo: one recorded episode, and its place in an HDF5 file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import h5py
import numpy as np

from ..errors import UserError
from ..evaluate import OUTCOMES as ENDINGS

FORMAT = 1
"""Version of the layout inside the files: ``format_version`` of Isaac Lab's own recorder."""

FIELDS = {
    "root_pose": ("states/rigid_object/robot/root_pose", 7),
    "velocity": ("obs/velocity", 3),
    "goal": ("obs/goal", 2),
    "time": ("obs/time", 0),
    "expert_action": ("expert_actions", 3),
    "action": ("actions", 3),
    "by_expert": ("by_expert", 0),
    "reward": ("rewards", 0),
}
"""Arrays of a :class:`Demo`: their place in the file, as in robomimic and Isaac Lab, and their width (0: none)."""

OUTCOMES = (*ENDINGS, "unfinished")
"""How a recorded episode ended; ``unfinished`` if the recording stopped first."""

UNREADABLE = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What h5py raises on files that are damaged, or of another layout."""


@dataclass
class Demo:
    """One episode of T steps: what was seen is not kept but rendered again, from ``scene`` and ``layout``."""

    scene: dict
    """The generator's configuration; see :func:`mmnav.scenes.as_record`."""
    layout: int
    """Seed of the layout in that family."""
    difficulty: float
    """Difficulty of the layout, in [0, 1]."""
    outcome: str
    """One of :data:`OUTCOMES`."""
    labels: str
    """Who labelled it: the expert's name."""
    root_pose: np.ndarray
    """Position [m] and quaternion (x, y, z, w) of the base in the world, shape [T, 7], float32."""
    velocity: np.ndarray
    """Velocity of the base in its own frame [m/s, m/s, rad/s], shape [T, 3], float32."""
    goal: np.ndarray
    """Goal in the base's frame [m], shape [T, 2], float32."""
    time: np.ndarray
    """Time since the episode began [s], shape [T], float32: where the movers were follows from it."""
    expert_action: np.ndarray
    """What the expert would have done: velocity command [m/s, m/s, rad/s], shape [T, 3], float32."""
    action: np.ndarray
    """What was done, in the same units, shape [T, 3], float32."""
    by_expert: np.ndarray
    """Whether that was the expert's doing, shape [T], uint8."""
    reward: np.ndarray
    """The task's reward, shape [T], float32."""
    pixels: list[bytes] | None = field(default=None, repr=False)
    """JPEG of each step's views side by side; None if they are to be rendered again."""

    @property
    def family(self) -> str:
        """Name of the scene family."""
        return self.scene["family"]

    @property
    def succeeded(self) -> bool:
        """Whether the goal was reached."""
        return self.outcome == "success"

    @property
    def step(self) -> float:
        """Duration of a step [s]; NaN for an episode of one step."""
        return _step(self.time)

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.time)

    @property
    def is_finite(self) -> bool:
        """Whether all its numbers are."""
        return all(np.isfinite(getattr(self, name)).all() for name in FIELDS)

    def generator(self) -> object:
        """The generator's configuration, which with the layout makes the scene again.

        Raises:
            UserError: If there is no such family, or it has no such settings.
        """
        from ..scenes import from_record  # needs torch, which reading does not

        try:
            return from_record(self.scene)
        except (TypeError, ValueError) as error:
            raise UserError(f"an episode's scene cannot be made again ({error}).") from error

    def check(self) -> None:
        """Raises ValueError if a shape, a number or the outcome is wrong; the message names the field."""
        if not isinstance(self.scene, dict) or not isinstance(self.scene.get("family"), str):
            raise ValueError(f"scene is {self.scene!r}; it must say its family.")
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome is {self.outcome!r}; it must be one of {', '.join(OUTCOMES)}.")
        if not len(self):
            raise ValueError("the episode has no step.")
        for name, (_, width) in FIELDS.items():
            value = getattr(self, name)
            shape = (len(self), width) if width else (len(self),)
            if value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}; it must be {shape}.")
            if not np.isfinite(value).all():
                step = int(np.argwhere(~np.isfinite(value))[0][0])
                raise ValueError(f"{name} is not finite at step {step}.")
        if self.pixels is not None and len(self.pixels) != len(self):
            raise ValueError(f"pixels has {len(self.pixels)} images for {len(self)} steps.")


def _step(time: np.ndarray) -> float:
    return float((time[-1] - time[0]) / (len(time) - 1)) if len(time) > 1 else math.nan


def write_demo(group: h5py.Group, demo: Demo, seed: int) -> None:
    """Writes an episode as a group ``demo_<i>``.

    Args:
        group: The new group.
        demo: The episode.
        seed: Seed of the run that recorded it.
    """
    group.attrs.update(
        num_samples=len(demo),
        seed=seed,
        success=demo.succeeded,
        outcome=demo.outcome,
        scene=json.dumps(demo.scene),
        layout=demo.layout,
        difficulty=demo.difficulty,
        labels=demo.labels,
    )
    for name, (path, _) in FIELDS.items():
        group.create_dataset(path, data=getattr(demo, name), compression="gzip", compression_opts=1)
    group.create_dataset("dones", data=(np.arange(len(demo)) == len(demo) - 1).astype(np.uint8))
    if demo.pixels is not None:
        group.create_dataset("obs/jpeg", data=np.frombuffer(b"".join(demo.pixels), np.uint8))
        group.create_dataset("obs/jpeg_offsets", data=np.cumsum([0, *map(len, demo.pixels)]))


def read_demo(group: h5py.Group, pixels: bool = False) -> Demo:
    """Reads an episode.

    Args:
        group: Its group.
        pixels: Whether to read the images as well, if there are any.

    Raises:
        UserError: If a field is missing, of a wrong shape or not finite; the message names file, episode and field.
    """
    try:
        a = {name: _attribute(group, name) for name in ("scene", "layout", "difficulty", "outcome", "labels")}
        head = (json.loads(a["scene"]), int(a["layout"]), float(a["difficulty"]), str(a["outcome"]), str(a["labels"]))
        demo = Demo(*head, **{name: _array(group, name, path) for name, (path, _) in FIELDS.items()})
        if pixels and "obs/jpeg" in group:
            blob, offsets = group["obs/jpeg"][()].tobytes(), _array(group, "pixels", "obs/jpeg_offsets")
            demo.pixels = [blob[i:j] for i, j in zip(offsets[:-1], offsets[1:], strict=True)]
        demo.check()
    except UNREADABLE as error:
        raise UserError(f"{group.file.filename}:{group.name}: the episode cannot be used ({error}).") from error
    return demo


def _attribute(group: h5py.Group, name: str):
    if name not in group.attrs:
        raise ValueError(f"{name} is missing")
    return group.attrs[name]


def _array(group: h5py.Group, name: str, path: str) -> np.ndarray:
    if path not in group:
        raise ValueError(f"{name} is missing: there is no {path}")
    return group[path][()]


@dataclass(frozen=True)
class Heading:
    """What an episode is about, without its arrays."""

    family: str
    """Name of the scene family."""
    outcome: str
    """One of :data:`OUTCOMES`."""
    labels: str
    """Who labelled it."""
    steps: int
    """Number of steps."""
    seconds: float
    """Duration [s]; 0 if it has one step, as nothing says how long that took."""
    expert_steps: int
    """Steps that the expert drove."""
    has_pixels: bool
    """Whether the images are inside."""


def read_heading(group: h5py.Group) -> Heading:
    """Reads what an episode is about, quickly.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        step = _step(_array(group, "time", "obs/time"))
        steps = int(_attribute(group, "num_samples"))
        return Heading(
            family=str(json.loads(_attribute(group, "scene"))["family"]),
            outcome=str(_attribute(group, "outcome")),
            labels=str(_attribute(group, "labels")),
            steps=steps,
            seconds=0.0 if math.isnan(step) else step * steps,
            expert_steps=int(np.count_nonzero(_array(group, "by_expert", "by_expert"))),
            has_pixels="obs/jpeg" in group,
        )
    except UNREADABLE as error:
        raise UserError(f"{group.file.filename}:{group.name}: the episode cannot be used ({error}).") from error
