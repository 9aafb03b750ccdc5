"""Samples: what a batch holds, as a function of the samples' numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from ..data import Frames, Replay
from ..data.replay import PanoramaReplay, Viewer, look_seeds, panorama_rig
from ..errors import UserError
from ..rig import LookCfg, RigCfg
from ..scenes.draws import numbered_draws
from ..vla import MMNavConfig, MMNavProcessor
from ..vla.ring import mirror_panorama
from ..vla.sight import pool_features

_POOLED_AT_A_TIME = 4096


class StepDraw:
    """Draws steps of episodes so that every capability has its share, and so have demonstrations within it."""

    def __init__(
        self,
        frames: Frames,
        families: Sequence[str],
        shares: Sequence[float],
        seed: int,
        *,
        demo_steps: int | None = None,
        demo_share: float = 1.0,
    ):
        """Sorts the steps by family, and by who drove.

        Args:
            frames: The episodes.
            families: Names of the capabilities.
            shares: Their shares of the samples, adding up to 1.
            seed: Of the draws.
            demo_steps: How many steps, the first ones, are of demonstrations; all if None.
            demo_share: Their share of every capability's samples; the rest are the student's own steps.

        Raises:
            UserError: If a capability has a share and no step.
        """
        index, step = frames.family_index(families), torch.arange(len(frames))
        shown = step < (len(frames) if demo_steps is None else demo_steps)
        self._steps, parts = [], []
        for i, (name, share) in enumerate(zip(families, shares, strict=True)):
            for whose, mine, part in (("expert", shown, demo_share), ("student", ~shown, 1.0 - demo_share)):
                steps = ((index == i) & mine).nonzero().flatten()
                if share * part > 0.0 and not len(steps):
                    raise UserError(f"no step of {name} by the {whose} was recorded; its share is {share * part:.3f}.")
                self._steps.append(steps)
                parts.append(share * part)
        self._ends = np.cumsum(np.asarray(parts, dtype=float) / sum(parts))
        self._seed = seed

    def __call__(self, numbers: np.ndarray) -> torch.Tensor:
        """Indices of the steps that samples of these numbers are, shape [B]."""
        draws = numbered_draws(numbers, self._seed, "steps")
        # rounding must not lead to a part without a share
        last = np.searchsorted(self._ends, self._ends[-1])
        part = np.minimum(np.searchsorted(self._ends, draws.uniform(0.0, 1.0), side="right"), last)
        place = draws.uniform(0.0, 1.0)
        steps = [int(self._steps[i][int(p * len(self._steps[i]))]) for i, p in zip(part, place, strict=True)]
        return torch.tensor(steps)


class DepthSamples:
    """Images of disturbed poses with their depth: what a tower from scratch learns on."""

    def __init__(
        self,
        frames: Frames,
        draw: StepDraw,
        rig: RigCfg,
        look: LookCfg,
        processor: MMNavProcessor,
        seed: int,
        device: torch.device | str = "cpu",
    ):
        """Disturbs positions by up to 0.3 m and takes any heading; renders on a device."""
        self._frames, self._draw, self._processor, self._seed = frames, draw, processor, seed
        self._rig, self._look, self._device, self._replay = rig, look, device, None

    def batch(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """Returns ``pixel_values`` [B, V, 3, H, W] and ``depth`` [m], shape [B, V, H, W]."""
        if self._replay is None or self._replay.batch != len(numbers):
            self._replay = Replay(self._rig, self._look, len(numbers), self._device)
        draws = numbered_draws(numbers, self._seed, "disturb")
        offset, turn = draws.uniform(-0.3, 0.3, 2), draws.uniform(-np.pi, np.pi)
        images = self._replay.render(
            self._frames, self._draw(numbers), look_seeds(numbers, self._seed), disturb=(offset, turn)
        )
        return {"pixel_values": self._processor.normalize(images.rgb), "depth": images.depth.clone()}


class PromptSamples:
    """Prompts and the goals that they tell of: what a language model from scratch learns to read on."""

    def __init__(self, processor: MMNavProcessor, seed: int, farthest: float = 14.0):
        """Draws goals up to ``farthest`` [m] away, near ones as often as far ones."""
        self._processor, self._seed, self._farthest = processor, seed, farthest

    def batch(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """Returns ``input_ids`` and ``attention_mask`` [B, S], and ``goal`` [m], shape [B, 2]."""
        draws = numbered_draws(numbers, self._seed, "prompts")
        radius, angle = self._farthest * draws.uniform(0.0, 1.0), draws.uniform(-np.pi, np.pi)
        goal = torch.from_numpy(radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)).float()
        return {**self._processor(goals=goal), "goal": goal}


class Windows:
    """Which frames a student's windows are made of, what it was told before them, and which are seen in a mirror.

    Half of the samples are, if the student can: left is as good as right, here and there.
    """

    def __init__(self, frames: Frames, config: MMNavConfig):
        """Takes the episodes and the student's configuration."""
        self._frames, self._look_back = frames, config.look_back
        self._ago = torch.tensor(config.history, dtype=torch.long)
        self._mirrors = config.can_mirror

    def history(self, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps of the history's frames and whether their episodes had begun, shape [B, T]; the steps' own if not."""
        past = steps[:, None] - self._ago
        there = past >= self._frames.start[steps][:, None]
        return torch.where(there, past, steps[:, None]), there

    def draw_mirrored(self, numbers: np.ndarray) -> torch.Tensor:
        """Which samples are mirrored, shape [B]."""
        if not self._mirrors:
            return torch.zeros(len(numbers), dtype=torch.bool)
        return torch.from_numpy(numbered_draws(numbers, 0, "mirror").uniform(0.0, 1.0) < 0.5)

    @staticmethod
    def mirror(values: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """Places or velocities [B, ..., 2 or 3] with left and right exchanged where ``mirrored`` [B, ...] says so."""
        signs = torch.tensor([1.0, -1.0, -1.0])[: values.shape[-1]]
        where = mirrored.view(*mirrored.shape, *[1] * (values.dim() - mirrored.dim()))
        return torch.where(where, values * signs, values)

    def told(self, steps: torch.Tensor, mirrored: torch.Tensor) -> dict[str, torch.Tensor]:
        """``moves`` [..., H, 3] and ``command`` [..., 3] at steps [...], and ``mirrored`` [...] if the student can."""
        moves, command = self._frames.moves(steps, self._look_back), self._frames.command(steps)
        told = {"moves": self.mirror(moves, mirrored), "command": self.mirror(command, mirrored)}
        return {**told, "mirrored": mirrored} if self._mirrors else told

    def asked(self, steps: torch.Tensor, mirrored: torch.Tensor, processor: MMNavProcessor) -> dict[str, torch.Tensor]:
        """Prompts, ``input_ids`` and ``attention_mask`` [..., S], and ``labels`` [..., 3] of steps [...]."""
        arrays = self._frames.arrays
        return {
            **processor(goals=self.mirror(arrays["goal"][steps], mirrored)),
            "labels": self.mirror(arrays["expert_action"][steps], mirrored),
        }


class WindowSamples:
    """Windows of encoded frames with the experts' velocities: for a frozen tower."""

    def __init__(
        self, frames: Frames, features: torch.Tensor, draw: StepDraw, processor: MMNavProcessor, config: MMNavConfig
    ):
        """Takes the frames' features.

        Args:
            frames: The episodes.
            features: What the tower made of every step, shape [N, V, 16, F].
            draw: Which steps to take.
            processor: For the prompts.
            config: The model's.
        """
        self._features, self._draw, self._processor = features, draw, processor
        self._pooled, self._windows = features, Windows(frames, config)
        if list(config.history_grid) != list(config.current_grid):
            pooled = [pool_features(part.float(), config).to(part) for part in features.split(_POOLED_AT_A_TIME)]
            self._pooled = torch.cat(pooled)

    def batch(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """Returns what the model's ``forward`` takes for windows of one target each."""
        now, mirrored = self._draw(numbers), self._windows.draw_mirrored(numbers)[:, None]
        return {
            **self._seen(now),
            **self._windows.told(now[:, None], mirrored),
            **self._windows.asked(now[:, None], mirrored, self._processor),
        }

    def _seen(self, now: torch.Tensor) -> dict[str, torch.Tensor]:
        """``current``, ``history`` and ``history_mask`` of windows that end at some steps."""
        past, there = self._windows.history(now)
        return {"current": self._features[now], "history": self._pooled[past], "history_mask": there}


class PanoramaSamples(WindowSamples):
    """Windows of encoded frames with the panoramas that the experts see there: what a sight learns to estimate."""

    def __init__(
        self,
        frames: Frames,
        features: torch.Tensor,
        draw: StepDraw,
        processor: MMNavProcessor,
        config: MMNavConfig,
        device: torch.device | str = "cpu",
    ):
        """Looks on a device; the rest is as for :class:`WindowSamples`."""
        super().__init__(frames, features, draw, processor, config)
        self._frames, self._panorama = frames, None
        self._make_panorama = partial(PanoramaReplay, panorama_rig(config), device=device)

    def batch(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """Returns what :meth:`mmnav.distill.pretrain.PanoramaPretraining.forward` takes."""
        if self._panorama is None or self._panorama.batch != len(numbers):
            self._panorama = self._make_panorama(len(numbers))
        now, mirrored = self._draw(numbers), self._windows.draw_mirrored(numbers)
        panorama = self._panorama.look(self._frames, now).cpu()
        return {
            **self._seen(now),
            **self._windows.told(now, mirrored),
            "panorama": torch.where(mirrored[:, None, None], mirror_panorama(panorama), panorama),
        }


class ChunkSamples:
    """Chunks of consecutive frames, rendered again: for a tower that learns as well."""

    def __init__(
        self,
        frames: Frames,
        draw: StepDraw,
        viewer: Callable[[int], Viewer],
        processor: MMNavProcessor,
        config: MMNavConfig,
        targets: int,
        seed: int,
    ):
        """Chunks end at drawn steps.

        Args:
            frames: The episodes.
            draw: Which steps to end at.
            viewer: Makes what shows as many steps at a time.
            processor: For images and prompts.
            config: The model's.
            targets: Steps of a chunk that are learned from.
            seed: Of the looks.
        """
        self._frames, self._draw, self._make_viewer, self._seed = frames, draw, viewer, seed
        self._processor, self._targets, self._length = processor, targets, config.reach_back + targets
        self._windows = Windows(frames, config)
        self._viewer: Viewer | None = None

    def batch(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """Returns what the model's ``forward`` takes for chunks of L frames with n targets each."""
        if self._viewer is None:
            self._viewer = self._make_viewer(len(numbers) * self._length)
        frames, last = self._frames, self._draw(numbers)
        start = frames.start[last]
        last = torch.maximum(last, torch.minimum(start + self._targets - 1, _episode_end(frames, last)))
        steps = last[:, None] - torch.arange(self._length - 1, -1, -1)
        there = steps >= start[:, None]
        steps = torch.where(there, steps, start[:, None])
        looks = look_seeds(numbers, self._seed).repeat_interleave(self._length)
        rgb = self._viewer.view(frames, steps.flatten(), looks)
        wanted = steps[:, -self._targets :]
        mirrored = self._windows.draw_mirrored(numbers)[:, None].expand(wanted.shape)
        return {
            "pixel_values": self._processor.normalize(rgb.unflatten(0, steps.shape)),
            "frame_mask": there,
            **self._windows.told(wanted, mirrored),
            **self._windows.asked(wanted, mirrored, self._processor),
        }


def _episode_end(frames: Frames, steps: torch.Tensor) -> torch.Tensor:
    """Last step of the episodes that steps belong to."""
    following = torch.searchsorted(frames.demo, frames.demo[steps], right=True)
    return following - 1
