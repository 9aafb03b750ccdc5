"""Encoded: what a frozen tower makes of recorded frames, each of which it looks at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator

from ..data import Frames
from ..data.replay import Viewer, look_seeds
from ..vla import MMNavForAction, MMNavProcessor
from ..vla.sight import feature_dim
from .display import Display

_ENCODED_AT_A_TIME = 64


class EncodedFrames:
    """Features of :class:`mmnav.data.Frames`, which may grow: only what is new is looked at."""

    def __init__(
        self,
        frames: Frames,
        model: MMNavForAction,
        processor: MMNavProcessor,
        viewer: Callable[[int], Viewer],
        seed: int,
        accelerator: Accelerator,
        display: Display,
    ):
        """Looks at nothing yet.

        Args:
            frames: The episodes.
            model: Who looks.
            processor: Its processor.
            viewer: Makes what shows as many steps at a time.
            seed: Of the looks: an episode has one.
            accelerator: Where, and in which precision.
            display: What shows the progress.
        """
        self._frames, self._model, self._processor = frames, model, processor
        self._make_viewer, self._seed, self._accelerator, self._display = viewer, seed, accelerator, display
        config = model.config
        cells = config.current_grid[0] * config.current_grid[1]
        self._features = torch.empty(0, config.view_count, cells, feature_dim(config), dtype=torch.bfloat16)

    def features(self) -> torch.Tensor:
        """What the tower makes of every step, shape [N, V, 16, F]."""
        known, frames = self._features, self._frames
        first, count = len(known), len(frames) - len(known)
        if not count:
            return known
        fresh, viewer = known.new_empty(count, *known.shape[1:]), self._make_viewer(_ENCODED_AT_A_TIME)
        looks = look_seeds(np.arange(len(frames.families)), self._seed)
        self._model.eval()
        with self._display.bar("encoding frames", count) as bar, torch.inference_mode():
            for i in range(0, count, _ENCODED_AT_A_TIME):
                steps = (first + i + torch.arange(_ENCODED_AT_A_TIME)).clamp(max=len(frames) - 1)
                rgb = viewer.view(frames, steps, looks[frames.demo[steps]])
                with self._accelerator.autocast():
                    seen = self._model.encode(self._processor.normalize(rgb).to(self._accelerator.device))
                done = min(i + _ENCODED_AT_A_TIME, count)
                fresh[i:done] = seen[: done - i].to(fresh)
                bar.to(done)
        self._features = torch.cat([known, fresh])
        return self._features
