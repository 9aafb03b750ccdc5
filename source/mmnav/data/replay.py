"""Replay: renders recorded episodes again, in the batch, on the device, with looks that were never seen before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ..camera import RigCfg, depth_rig
from ..rig import Images, LookCfg, Panorama, Rig
from ..rig.panorama import encode_panorama
from ..robot import VIEWS
from ..scenes import SceneBatch, advance, generate
from ..scenes.builder import draw_paint
from ..scenes.draws import numbered_draws
from ..vla import MMNavConfig
from ..vla.odometry import reckon, seen_from
from ..vla.ring import ring_length
from ..vla.sight import PANORAMA_ROWS
from .demo import Demo


def panorama_rig(config: MMNavConfig) -> RigCfg:
    """The views of the panorama that a student estimates."""
    return depth_rig(ring_length(config) // len(VIEWS), PANORAMA_ROWS)


def look_seeds(numbers: np.ndarray, seed: int) -> torch.Tensor:
    """Seeds of looks that no two numbers of a run share, shape [B]."""
    return torch.from_numpy(numbered_draws(numbers, seed, "replayed").integers(0, 2**48))


class Viewer(Protocol):
    """Shows steps of recorded episodes."""

    def view(self, frames: Frames, steps: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
        """Colour of B steps in looks of these seeds, where looks can be chosen; shape [B, V, 3, H, W], uint8."""
        ...


class Frames:
    """The steps of many episodes, one after the other in flat arrays."""

    def __init__(self, demos: Sequence[Demo] = ()):
        """Starts with some episodes."""
        self.start = torch.zeros(0, dtype=torch.long)
        """Index of each step's episode's first step, shape [N]."""
        self.demo = torch.zeros(0, dtype=torch.long)
        """Index of each step's episode, shape [N]."""
        self.families: list[str] = []
        """Family of each episode."""
        self.arrays = {name: torch.zeros(0, *shape) for name, shape in _ARRAYS.items()}
        """Of all steps: ``root_pose``, ``goal``, ``time``, ``expert_action``, ``action``; see Demo."""
        self.pixels: list[bytes] = []
        """JPEG of every step, if they were kept."""
        self._odometry = torch.zeros(0, 3)
        self._scenes: list[SceneBatch] = []
        self._joined: SceneBatch | None = None
        self.extend(demos)

    def extend(self, demos: Sequence[Demo]) -> None:
        """Appends episodes."""
        if not demos:
            return
        first, count = len(self.families), len(self)
        lengths = torch.tensor([len(demo) for demo in demos])
        begin = count + lengths.cumsum(0) - lengths
        self.start = torch.cat([self.start, begin.repeat_interleave(lengths)])
        self.demo = torch.cat([self.demo, torch.arange(first, first + len(demos)).repeat_interleave(lengths)])
        for name, array in self.arrays.items():
            self.arrays[name] = torch.cat([array, *(torch.from_numpy(getattr(demo, name)) for demo in demos)])
        self.families += [demo.family for demo in demos]
        self.pixels += [jpeg for demo in demos for jpeg in demo.pixels or ()]
        self._odometry = torch.cat([self._odometry, _reckoned(demos)])
        self._scenes.append(_scenes(demos))
        self._joined = None

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.start)

    @property
    def scenes(self) -> SceneBatch:
        """The layouts of all episodes, padded to equal slots."""
        if self._joined is None:
            slots = max(scene.geom_count for scene in self._scenes)
            self._scenes = [SceneBatch.cat([scene.padded(slots) for scene in self._scenes])]
            self._joined = self._scenes[0]
        return self._joined

    def command(self, steps: torch.Tensor) -> torch.Tensor:
        """Velocities that were commanded one step before some steps [...], shape [..., 3]; 0 at an episode's start."""
        return self.arrays["action"][(steps - 1).clamp(min=0)] * (steps > self.start[steps])[..., None]

    def moves(self, steps: torch.Tensor, ago: Sequence[int]) -> torch.Tensor:
        """Where the base was, seen from where it is at some steps [...], by dead reckoning.

        Args:
            steps: Indices of steps.
            ago: How many steps before.

        Returns:
            Place [m] and heading [rad], shape [..., H, 3]; the episode's start if it had not begun.
        """
        before = torch.maximum(steps[..., None] - torch.tensor(ago, dtype=torch.long), self.start[steps][..., None])
        there = self._odometry[before]
        return seen_from(self._odometry[steps][..., None, :].expand_as(there), there)

    def family_index(self, names: Sequence[str]) -> torch.Tensor:
        """Index of every step's family in ``names``, shape [N]."""
        return torch.tensor([list(names).index(family) for family in self.families])[self.demo]


_ARRAYS = {"root_pose": (7,), "goal": (2,), "time": (), "expert_action": (3,), "action": (3,)}


def _reckoned(demos: Sequence[Demo]) -> torch.Tensor:
    """Where the base was at every step of episodes by its commands, seen from each one's start; shape [N, 3]."""
    commands = nn.utils.rnn.pad_sequence([torch.from_numpy(demo.action) for demo in demos], batch_first=True)
    steps = torch.tensor([demo.step for demo in demos])[:, None].nan_to_num()  # an episode of one step goes nowhere
    poses = reckon(commands, steps)
    return torch.cat([pose[: len(demo)] for pose, demo in zip(poses, demos, strict=True)])


def _scenes(demos: Sequence[Demo]) -> SceneBatch:
    """Makes the layouts of episodes, family by family; UserError if there is no such family."""
    groups: dict[str, list[int]] = {}
    for i, demo in enumerate(demos):
        groups.setdefault(json.dumps(demo.scene), []).append(i)
    parts = []
    for rows in groups.values():
        seeds = np.array([demos[i].layout for i in rows])
        levels = np.array([demos[i].difficulty for i in rows])
        parts.append(generate(demos[rows[0]].generator(), seeds, levels))
    slots = max(part.geom_count for part in parts)
    order = torch.empty(len(demos), dtype=torch.long)
    order[torch.tensor([i for rows in groups.values() for i in rows])] = torch.arange(len(demos))
    return SceneBatch.cat([part.padded(slots) for part in parts])[order]


class _Scenery:
    """A scene in memory of its own, in which B steps of episodes are set up at a time."""

    def __init__(self, batch: int, device: torch.device | str):
        self.batch, self._device = batch, torch.device(device)
        self._scene: SceneBatch | None = None

    def _set_up(self, scene: SceneBatch) -> bool:
        """Puts worlds in place; returns whether the memory is new."""
        scene = scene.to(self._device)
        if self._scene is not None and self._scene.geom_count == scene.geom_count:
            for f in fields(scene):
                getattr(self._scene, f.name).copy_(getattr(scene, f.name))
            return False
        self._scene = scene
        self._place, self._speed = torch.empty_like(scene.position), torch.empty_like(scene.position)
        return True

    def _pose(self, frames: Frames, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Moves the movers to where they were at some steps; returns where the robots were."""
        advance(self._scene, frames.arrays["time"][steps].to(self._device), self._place, self._speed)
        pose = frames.arrays["root_pose"][steps].to(self._device)
        return pose[:, :3].contiguous(), pose[:, 3:].contiguous()

    def _check(self, steps: torch.Tensor) -> None:
        if len(steps) != self.batch:
            raise ValueError(f"{type(self).__name__} renders {self.batch} steps at a time, not {len(steps)}.")


class PanoramaReplay(_Scenery):
    """Shows, at any steps of :class:`Frames`, the panorama that an expert sees; some at a time."""

    def __init__(self, rig: RigCfg, batch: int, device: torch.device | str = "cpu"):
        """Makes room; arguments as for :class:`Replay`."""
        super().__init__(batch, device)
        self._cfg = rig

    def look(self, frames: Frames, steps: torch.Tensor) -> torch.Tensor:
        """The panoramas of B steps as policies take them; see :func:`mmnav.rig.panorama.encode_panorama`.

        Raises:
            ValueError: If B is not the batch.
        """
        self._check(steps)
        if self._set_up(frames.scenes[frames.demo[steps]]):
            self._panorama = Panorama(self._cfg, self._scene)
        pose = self._pose(frames, steps)
        return encode_panorama(*self._panorama.look(*pose, self._place, self._speed))


class Replay(_Scenery):
    """Renders any steps of :class:`Frames`, some at a time."""

    def __init__(self, rig: RigCfg, look: LookCfg, batch: int, device: torch.device | str = "cpu"):
        """Makes room.

        Args:
            rig: The cameras.
            look: Ranges that looks are drawn from.
            batch: Steps that are rendered at a time.
            device: Where.
        """
        super().__init__(batch, device)
        self._cfg, self._look = rig, look

    def render(
        self,
        frames: Frames,
        steps: torch.Tensor,
        looks: torch.Tensor,
        disturb: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Images:
        """Renders steps.

        Args:
            frames: The episodes.
            steps: Indices of B steps.
            looks: Seeds of their looks, shape [B]: steps of equal seeds and episodes look alike.
            disturb: Displacements [m], shape [B, 2], and turns [rad], shape [B], of the robots; none if None.

        Returns:
            Images of B worlds; the memory is written again by the next call.

        Raises:
            ValueError: If B is not the batch.
        """
        self._check(steps)
        scene = frames.scenes[frames.demo[steps]]
        scene.seed = looks.clone()
        color, texture = draw_paint(looks.numpy(), scene.geom_count)
        scene.color = torch.from_numpy(color).float()
        scene.texture = torch.from_numpy(texture).int()
        if self._set_up(scene):
            self._rig = Rig(self._cfg, self._scene, look=self._look)
        self._rig.reset(frame=(steps - frames.start[steps]).to(self._device))  # a step's noise is its own
        position, orientation = self._pose(frames, steps)
        if disturb is not None:
            position[:, :2] += torch.from_numpy(disturb[0]).to(position)
            orientation = _turned(orientation, torch.from_numpy(disturb[1]).to(orientation))
        return self._rig.render(position, orientation, self._place)

    def view(self, frames: Frames, steps: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
        """The colour of B steps as :meth:`render` makes it, shape [B, V, 3, H, W], uint8."""
        return self.render(frames, steps, looks).rgb


def _turned(orientation: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Quaternions (x, y, z, w), shape [B, 4], turned about the world's vertical by angles [rad], shape [B]."""
    x, y, z, w = orientation.unbind(-1)
    sin, cos = (angle / 2).sin(), (angle / 2).cos()
    return torch.stack([cos * x - sin * y, cos * y + sin * x, cos * z + sin * w, cos * w - sin * z], -1)
