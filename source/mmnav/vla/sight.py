"""Sight: what a student's language model is told of the frames that its tower has encoded."""

from __future__ import annotations

import torch
from torch import nn

from .configuration_mmnav import MMNavConfig

_SQUEEZED = 24
"""Channels that a glance keeps of every cell."""


class FrameTokens(nn.Module):
    """Tokens for every frame, as in the paper (arXiv 2510.03142): ``history | now``.

    A frame is, view by view (F, R, B, L), a marker token and a token for every cell of its grid; embeddings tell views
    and times apart.
    """

    def __init__(self, config: MMNavConfig):
        """Makes the layers."""
        super().__init__()
        features, width = feature_dim(config), config.text_config.hidden_size
        self.projector = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, width), nn.GELU(), nn.Linear(width, width)
        )
        self.view_marker = nn.Embedding(config.view_count, width)
        self.view_embedding = nn.Embedding(config.view_count, width)
        self.time_embedding = nn.Embedding(len(config.history) + 1, width)  # the last one is now

    def forward(
        self, current: torch.Tensor, history: torch.Tensor, history_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes the tokens of windows.

        Args:
            current: Features of the current frames, shape [B, V, 16, F].
            history: Features of earlier frames, pooled, shape [B, T, V, 4, F].
            history_mask: Whether there was such a frame, shape [B, T].

        Returns:
            Tokens, shape [B, S, D], and whether they stand for anything, shape [B, S].
        """
        times = self.time_embedding(torch.arange(history.shape[1] + 1, device=current.device))
        past, now = self._tokens(history, times[:-1]), self._tokens(current[:, None], times[-1:])
        there = history_mask.bool()[:, :, None].expand(-1, -1, past.shape[2]).flatten(1)
        tokens = torch.cat([past.flatten(1, 2), now.flatten(1, 2)], 1)
        return tokens, torch.cat([there, there.new_ones(len(now), now.shape[2])], 1)

    def _tokens(self, features: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Tokens of frames, markers included: [B, T, V, P, F] and [T, D] to [B, T, V * (1 + P), D]."""
        views = torch.arange(features.shape[2], device=features.device)
        tokens = self.projector(features.to(times.dtype))
        tokens = tokens + self.view_embedding(views)[:, None] + times[:, None, None]
        markers = self.view_marker(views)[:, None] + times[:, None, None]
        return torch.cat([markers.expand(len(tokens), -1, -1, -1, -1).to(tokens.dtype), tokens], 3).flatten(2, 3)


class Glance(nn.Module):
    """One token for all frames: the same cells, squeezed one by one, through one hidden layer.

    Attention must learn where in the views to look; a glance has a weight for every place. It learns sooner, and makes
    the sequence an eighth as long, so that a small machine sees several times as many samples in the same time.
    """

    def __init__(self, config: MMNavConfig):
        """Makes the layers."""
        super().__init__()
        features, width = feature_dim(config), config.text_config.hidden_size
        now, past = (rows * columns for rows, columns in (config.current_grid, config.history_grid))
        inputs = _SQUEEZED * config.view_count * (now + past * len(config.history))
        self.now, self.past = nn.Linear(features, _SQUEEZED), nn.Linear(features, _SQUEEZED)
        self.mix = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Linear(inputs, config.glance_hidden),
            nn.GELU(),
            nn.Linear(config.glance_hidden, width),
        )

    def forward(
        self, current: torch.Tensor, history: torch.Tensor, history_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes the token of windows; arguments and results as for :class:`FrameTokens`, with S = 1."""
        dtype = self.now.weight.dtype
        past = self.past(history.to(dtype)) * history_mask[:, :, None, None, None]
        token = self.mix(torch.cat([self.now(current.to(dtype)).flatten(1), past.flatten(1)], 1))[:, None]
        return token, token.new_ones(token.shape[:2], dtype=torch.bool)


def pool_features(features: torch.Tensor, config: MMNavConfig) -> torch.Tensor:
    """Pools frames' features from the current grid to the history's: [..., 16, F] to [..., 4, F]."""
    (rows, columns), (down, across) = config.history_grid, config.current_grid
    cells = features.unflatten(-2, (rows, down // rows, columns, across // columns))
    return cells.mean((-4, -2)).flatten(-3, -2)


def feature_dim(config: MMNavConfig) -> int:
    """Channels of the vision tower's output."""
    vision = config.vision_config
    return vision.hidden_sizes[-1] if hasattr(vision, "hidden_sizes") else vision.hidden_size
