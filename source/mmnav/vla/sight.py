"""Sight: what a student's language model is told of the frames that its tower has encoded."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from .configuration_mmnav import MMNavConfig
from .ring import CELL, Ring, mirror_views

PANORAMA_ROWS = 4
"""Depths of every column of a panorama."""


class FrameTokens(nn.Module):
    """Tokens for every frame, as in the paper (arXiv 2510.03142): ``history | now``.

    A frame is, view by view (F, R, B, L), a marker token and a token for every cell of its grid; embeddings tell views
    and times apart.
    """

    def __init__(self, config: MMNavConfig):
        """Makes the layers."""
        super().__init__()
        features, width = feature_dim(config), config.text_config.hidden_size
        self.reader = nn.Identity()
        self.projector = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, width), nn.GELU(), nn.Linear(width, width)
        )
        self.view_marker = nn.Embedding(config.view_count, width)
        self.view_embedding = nn.Embedding(config.view_count, width)
        self.time_embedding = nn.Embedding(len(config.history) + 1, width)  # the last one is now

    def forward(
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        moves: torch.Tensor | None = None,
        mirrored: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes the tokens of windows.

        Args:
            current: Features of the current frames, shape [B, V, 16, F].
            history: Features of earlier frames, pooled, shape [B, T, V, 4, F].
            history_mask: Whether there was such a frame, shape [B, T].
            moves: Not looked at.
            mirrored: None; frames as tokens cannot be mirrored.

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


class PanoramaToken(nn.Module):
    """One token for all frames: of the panorama that the experts would see, which is estimated first.

    Every cell tells the logarithmic depths of its parts, which are put in a :class:`mmnav.vla.ring.Ring`: those of
    earlier frames where they would be seen by now if nothing moved but the base, by dead reckoning. Convolutions round
    the ring estimate the panorama, and others make a token of it.
    """

    def __init__(self, config: MMNavConfig):
        """Makes the layers."""
        super().__init__()
        self._grid, channels, times = tuple(config.current_grid), config.panorama_channels, len(config.history)
        self.reader = nn.Linear(tower_dim(config), feature_dim(config))
        self.ring = Ring(config)
        self.estimate = nn.Sequential(
            _round(self._grid[0] * CELL[0] + 4 * times + 4, channels, 9),
            nn.GELU(),
            *(_Residual(channels, dilation) for dilation in (1, 2, 4)),
            _round(channels, PANORAMA_ROWS + 2, 1),
        )
        coarse = math.ceil(math.ceil(self.ring.length / 4) / 4)
        self.encoder = nn.Sequential(
            _round(PANORAMA_ROWS + 2, channels, 9, 4), nn.GELU(), _round(channels, 64, 5, 4), nn.GELU(), nn.Flatten()
        )
        self.mix = nn.Sequential(nn.Linear(64 * coarse, 256), nn.GELU(), nn.Linear(256, config.text_config.hidden_size))

    def forward(
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        moves: torch.Tensor,
        mirrored: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes the token of windows.

        Args:
            current: As for :class:`FrameTokens`.
            history: Features of earlier frames, as fine as the current one's, shape [B, T, V, 16, 32].
            history_mask: As for :class:`FrameTokens`.
            moves: Where the base was in those frames, seen from now: place [m] and heading [rad], shape [B, T, 3].
            mirrored: Whether left and right are exchanged in what was seen, shape [B]; in no window if None. The
                moves must be mirrored already.

        Returns:
            As for :class:`FrameTokens`, with S = 1.
        """
        panorama = self.panorama(current, history, history_mask, moves, mirrored)
        token = self.mix(self.encoder(panorama.transpose(1, 2)))[:, None]
        return token, token.new_ones(token.shape[:2], dtype=torch.bool)

    def panorama(
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        moves: torch.Tensor,
        mirrored: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Estimates what :func:`mmnav.rig.panorama.encode_panorama` makes of the truth, shape [B, L, 6]."""
        depth = self._views(torch.cat([current[:, None], history], 1).float())
        if mirrored is not None:
            depth = torch.where(mirrored[:, None, None, None, None], mirror_views(depth, 2, -1), depth)
        pose = F.pad(moves, (0, 0, 1, 0))
        there = F.pad(history_mask.to(depth.dtype), (1, 0), value=1.0)[..., None]  # now, and then the history
        code, seen = self.ring.obstacles(depth, pose)
        cos, sin = bearing = self.ring.bearing
        ahead, left = moves[..., :2].split(1, -1)
        moved = torch.cat([ahead * cos + left * sin, left * cos - ahead * sin], 1) * there[:, 1:].repeat(1, 2, 1)
        rows, bearing = self.ring.every_row(depth[:, 0]), bearing.expand(len(depth), -1, -1)
        parts = [rows, code * there, seen * there, moved, bearing]
        told = self.estimate(torch.cat(parts, 1)).float()
        radial, tangential = told[:, -2], told[:, -1]
        velocity = torch.stack([radial * cos - tangential * sin, radial * sin + tangential * cos], 1)
        return torch.cat([told[:, :-2] + code[:, :1], velocity], 1).transpose(1, 2)

    def _views(self, features: torch.Tensor) -> torch.Tensor:
        """What all parts of all cells tell as images, [..., P, 32] to [..., rows, columns]."""
        parts = features.unflatten(-1, CELL).unflatten(-3, self._grid)
        return parts.transpose(-3, -2).flatten(-4, -3).flatten(-2)


class _Residual(nn.Module):
    """A dilated convolution round a ring, whose result is added to its input."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.gather = _round(channels, channels, 5, dilation=dilation)
        self.tell = _round(channels, channels, 1)

    def forward(self, ring: torch.Tensor) -> torch.Tensor:
        return ring + self.tell(F.gelu(self.gather(ring)))


def _round(channels_in: int, channels_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv1d:
    """A convolution round a ring."""
    reach = dilation * (kernel // 2)
    return nn.Conv1d(channels_in, channels_out, kernel, stride, reach, dilation, padding_mode="circular")


def pool_features(features: torch.Tensor, config: MMNavConfig) -> torch.Tensor:
    """Pools frames' features from the current grid to the history's: [..., 16, F] to [..., 4, F]."""
    (rows, columns), (down, across) = config.history_grid, config.current_grid
    if (rows, columns) == (down, across):
        return features
    cells = features.unflatten(-2, (rows, down // rows, columns, across // columns))
    return cells.mean((-4, -2)).flatten(-3, -2)


def feature_dim(config: MMNavConfig) -> int:
    """Numbers that a sight keeps of every cell: the tower's channels, or what they say of its parts' depths."""
    return CELL[0] * CELL[1] if config.panorama_channels else tower_dim(config)


def tower_dim(config: MMNavConfig) -> int:
    """Channels of the vision tower's output."""
    vision = config.vision_config
    return vision.hidden_sizes[-1] if hasattr(vision, "hidden_sizes") else vision.hidden_size
