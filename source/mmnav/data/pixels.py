"""Pixels of recorded episodes: kept as JPEGs where they cannot be rendered again, rendered again where they can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from ..evaluate.video import Recording
from ..rig import fisheye_rig, random_day
from ..robot import VIEWS
from ..scenes import advance
from ..scenes.builder import draw_paint
from .demo import Demo
from .replay import Frames, Replay, look_seeds

QUALITY = 90
"""Of the JPEGs: at 64 x 64 px, rendered views are off by about two grey levels of 255 on average."""

_BATCH = 32


def encode_pixels(rgb: torch.Tensor) -> bytes:
    """Makes one JPEG of a step's views, side by side.

    Views whose width is a multiple of 16 px do not show at each other's edges.

    Args:
        rgb: Views, planar, shape [V, 3, H, W], uint8.

    Raises:
        ValueError: If the shape or the type is another.
    """
    if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.dtype != torch.uint8:
        raise ValueError(f"rgb has shape {tuple(rgb.shape)} and type {rgb.dtype}; it must be [V, 3, H, W] of uint8.")
    mosaic = torch.cat(list(rgb.cpu()), -1).contiguous()
    return encode_jpeg(mosaic, QUALITY).numpy().tobytes()


def decode_pixels(jpegs: Sequence[bytes], views: int) -> torch.Tensor:
    """The images of T steps that :func:`encode_pixels` packed.

    Args:
        jpegs: A JPEG for every step.
        views: Views V in each of them.

    Returns:
        Images, planar, shape [T, V, 3, H, W], uint8.

    Raises:
        ValueError: If one is damaged, of another size, or not as wide as so many views; the message names the step.
    """
    steps = []
    for step, jpeg in enumerate(jpegs):
        try:
            mosaic = decode_jpeg(torch.from_numpy(np.frombuffer(jpeg, np.uint8).copy()), ImageReadMode.RGB)
        except RuntimeError as error:
            raise ValueError(f"the JPEG of step {step} cannot be decoded ({error}).") from error
        if mosaic.shape[-1] % views:
            raise ValueError(f"the JPEG of step {step} is {mosaic.shape[-1]} px wide; it cannot hold {views} views.")
        if steps and mosaic.shape != steps[0].shape:
            raise ValueError(f"the JPEG of step {step} is {tuple(mosaic.shape)}; the first is {tuple(steps[0].shape)}.")
        steps.append(mosaic)
    return torch.stack(steps).unflatten(-1, (views, -1)).permute(0, 3, 1, 2, 4).contiguous()


class StoredPixels:
    """Shows steps as the robots saw them, from their JPEGs."""

    def __init__(self, view_count: int):
        """Takes the number of views that are wanted, from the first one on."""
        self._view_count = view_count

    def view(self, frames: Frames, steps: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
        """Decodes B steps; ``looks`` cannot be chosen. Shape [B, V, 3, H, W], uint8.

        Raises:
            ValueError: If the pixels of some steps were not kept.
        """
        if len(frames.pixels) != len(frames):
            raise ValueError(f"pixels of {len(frames.pixels)} of {len(frames)} steps were kept; record all, or none.")
        return decode_pixels([frames.pixels[i] for i in steps.tolist()], len(VIEWS))[:, : self._view_count]


def render_episodes(demos: Sequence[Demo], size: tuple[int, int], seed: int = 0) -> Iterator[np.ndarray]:
    """Renders all steps in order with the four fisheyes, each episode in a look of its own.

    Args:
        demos: The episodes.
        size: Width and height of the views [px].
        seed: Seed of the looks; an episode's follows from it and from its place.

    Yields:
        A step's views, shape [4, H, W, 3], uint8.
    """
    frames = Frames(demos)
    replay = Replay(fisheye_rig(*size, samples=2), random_day(), _BATCH)
    looks = look_seeds(np.arange(len(demos)), seed)
    for first in range(0, len(frames), _BATCH):
        steps = (first + torch.arange(_BATCH)).clamp(max=len(frames) - 1)
        rgb = replay.render(frames, steps, looks[frames.demo[steps]]).rgb
        yield from rgb[: len(frames) - first].permute(0, 1, 3, 4, 2).cpu().numpy().copy()


def record_again(demo: Demo, title: str, seed: int = 0, size: tuple[int, int] = (96, 96)) -> Recording:
    """Renders an episode again as what a video shows.

    Args:
        demo: The episode, of at least two steps.
        title: Said above the map.
        seed: Seed of the look.
        size: Width and height of the views [px].
    """
    frames, steps = Frames([demo]), torch.arange(len(demo))
    replay = Replay(fisheye_rig(*size, samples=2), random_day(), len(demo))
    looks = look_seeds(np.zeros(len(demo), int), seed)
    images = replay.render(frames, steps, looks)
    scenes = frames.scenes[frames.demo]
    color, _ = draw_paint(looks.numpy(), scenes.geom_count)
    scenes.color = torch.from_numpy(color).float()  # the map's, as in the views
    place, speed = torch.empty_like(scenes.position), torch.empty_like(scenes.position)
    advance(scenes, frames.arrays["time"], place, speed)
    x, y, z, w = demo.root_pose[:, 3:].T
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return Recording(
        title=title,
        scene=scenes[:1],
        pose=np.concatenate([demo.root_pose[:, :2], yaw[:, None]], 1),
        geom_position=place.numpy(),
        depth=torch.cat(list(images.depth.unbind(1)), -1).numpy(),
        outcome=demo.outcome,
        step=demo.step,
        begin=0.0,
        seconds=len(demo) * demo.step,
        rgb=images.rgb.numpy(),
    )
