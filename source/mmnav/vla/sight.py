"""Sight: what a student's language model is told of the frames that its tower has encoded."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..robot import VIEWS
from .configuration_mmnav import MMNavConfig
from .odometry import dead_reckon

CELL = (4, 8)
"""Rows and columns of parts of a cell, each of whose depths a panorama's reading tells."""
PANORAMA_ROWS = 4
"""Depths of every column of a panorama."""

_TURN = 2.0 * math.pi


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
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        commands: torch.Tensor | None = None,
        mirrored: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes the tokens of windows.

        Args:
            current: Features of the current frames, shape [B, V, 16, F].
            history: Features of earlier frames, pooled, shape [B, T, V, 4, F].
            history_mask: Whether there was such a frame, shape [B, T].
            commands: Not looked at.
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

    Every cell is read for the depths of its parts; the middle quarter turn of each view joins a ring of columns. The
    rings of earlier frames are turned to the present heading, and each of their columns is told how the base moved
    since, radially and tangentially, by dead reckoning: so what moves by itself stands out. Convolutions round the
    ring estimate the panorama, and others make a token of it.
    """

    def __init__(self, config: MMNavConfig):
        """Makes the layers."""
        super().__init__()
        self._grid, self._step, channels = tuple(config.current_grid), config.control_step, config.panorama_channels
        self._columns = panorama_columns(config)
        self._ago, self._unseen = list(config.history), len(VIEWS) - config.view_count
        times, rows, length = len(config.history), self._grid[0] * CELL[0], len(VIEWS) * self._columns
        self.depth = nn.Linear(feature_dim(config), CELL[0] * CELL[1])
        self.estimate = nn.Sequential(
            _round(rows * (times + 1) + 3 * times + 2, channels, 9),
            nn.GELU(),
            _round(channels, channels, 9),
            nn.GELU(),
            _round(channels, channels, 9),
            nn.GELU(),
            _round(channels, PANORAMA_ROWS + 2, 1),
        )
        coarse = math.ceil(math.ceil(length / 4) / 4)
        self.encoder = nn.Sequential(
            _round(PANORAMA_ROWS + 2, channels, 9, 4), nn.GELU(), _round(channels, 64, 5, 4), nn.GELU(), nn.Flatten()
        )
        self.mix = nn.Sequential(nn.Linear(64 * coarse, 256), nn.GELU(), nn.Linear(256, config.text_config.hidden_size))

    def forward(
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        commands: torch.Tensor,
        mirrored: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes the token of windows.

        Args:
            current: As for :class:`FrameTokens`.
            history: Features of earlier frames, as fine as the current one's, shape [B, T, V, 16, F].
            history_mask: As for :class:`FrameTokens`.
            commands: Velocities that were commanded in the last R steps, the oldest first, shape [B, R, 3]
                [m/s, m/s, rad/s].
            mirrored: Whether left and right are exchanged in what was seen, shape [B]; in no window if None. The
                commands must be mirrored already.

        Returns:
            As for :class:`FrameTokens`, with S = 1.
        """
        panorama = self.panorama(current, history, history_mask, commands, mirrored)
        token = self.mix(self.encoder(panorama.transpose(1, 2)))[:, None]
        return token, token.new_ones(token.shape[:2], dtype=torch.bool)

    def panorama(
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        commands: torch.Tensor,
        mirrored: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Estimates what :func:`mmnav.rig.panorama.encode_panorama` makes of the truth, shape [B, L, 6]."""
        rings = self._rings(torch.cat([current[:, None], history], 1))
        if mirrored is not None:
            rings = torch.where(mirrored[:, None, None, None], mirror_ring(rings, -1), rings)
        now, past = rings[:, 0, :-1], rings[:, 1:]
        pose = dead_reckon(commands.float(), self._step)[:, [-ago for ago in self._ago]]
        past = _turned(past, pose[..., 2]) * history_mask[:, :, None, None].to(now.dtype)
        past, there = past[:, :, :-1], past[:, :, -1]
        length = now.shape[-1]
        azimuth = math.pi / 4 - (torch.arange(length, device=now.device) + 0.5) * (_TURN / length)
        bearing = torch.stack([azimuth.cos(), azimuth.sin()]).to(now.dtype)
        cos, sin = bearing
        ahead, left = pose[..., :2].to(now.dtype).split(1, -1)
        moved = torch.stack([ahead * cos + left * sin, left * cos - ahead * sin], 2) * there[:, :, None]
        parts = [now, past.flatten(1, 2), moved.flatten(1, 2), there, bearing.expand(len(now), -1, -1)]
        out = self.estimate(torch.cat(parts, 1))
        radial, tangential = out[:, -2], out[:, -1]
        velocity = [radial * cos - tangential * sin, radial * sin + tangential * cos]
        return torch.cat([out[:, :-2], torch.stack(velocity, 1)], 1).transpose(1, 2)

    def read_depth(self, features: torch.Tensor) -> torch.Tensor:
        """Logarithmic depths that features tell, by view: [..., P, F] to [..., rows, columns] of parts of cells."""
        rows, columns = self._grid
        parts = self.depth(features.to(self.depth.weight.dtype)).unflatten(-1, CELL).unflatten(-3, (rows, columns))
        return parts.transpose(-3, -2).flatten(-4, -3).flatten(-2)

    def _rings(self, features: torch.Tensor) -> torch.Tensor:
        """Rings of logarithmic depths: features [B, T, V, P, F] to [B, T, rows + 1, L].

        The last row is 1, or 0 where no view looks, as all others are there.
        """
        depth = self.read_depth(features)
        cut = (depth.shape[-1] - self._columns) // 2
        depth = depth[..., cut : cut + self._columns]
        seen = F.pad(depth, (0, 0, 0, 1), value=1.0)
        return F.pad(seen, (0, 0, 0, 0, 0, self._unseen)).transpose(2, 3).flatten(3)


def _round(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv1d:
    """A convolution round a ring."""
    return nn.Conv1d(channels_in, channels_out, kernel, stride, kernel // 2, padding_mode="circular")


def _turned(rings: torch.Tensor, heading: torch.Tensor) -> torch.Tensor:
    """Rings of bases that had other headings [rad] than now, shape [B, T], as they would be seen now: [B, T, H, L].

    Columns go clockwise; what lies between two of them is interpolated.
    """
    length = rings.shape[-1]
    column = torch.arange(length, device=rings.device) + heading[..., None] * (length / _TURN)
    first = column.floor()
    share = (column - first)[:, :, None].to(rings.dtype)
    left = (first.long() % length)[:, :, None].expand_as(rings)
    right = ((first.long() + 1) % length)[:, :, None].expand_as(rings)
    return torch.lerp(rings.gather(-1, left), rings.gather(-1, right), share.expand_as(rings))


def mirror_ring(ring: torch.Tensor, dim: int) -> torch.Tensor:
    """A ring of columns, along a dimension, with left and right exchanged: its first quarter is what is in front."""
    return ring.flip(dim).roll(ring.shape[dim] // 4, dim)


def pool_features(features: torch.Tensor, config: MMNavConfig) -> torch.Tensor:
    """Pools frames' features from the current grid to the history's: [..., 16, F] to [..., 4, F]."""
    (rows, columns), (down, across) = config.history_grid, config.current_grid
    if (rows, columns) == (down, across):
        return features
    cells = features.unflatten(-2, (rows, down // rows, columns, across // columns))
    return cells.mean((-4, -2)).flatten(-3, -2)


def panorama_columns(config: MMNavConfig) -> int:
    """Columns of a quarter turn of the panorama: of each view's middle, as many as its reading has there."""
    columns = config.current_grid[1] * CELL[1]
    return columns - 2 * round(columns * (0.5 - 45.0 / config.field_of_view[1]))


def feature_dim(config: MMNavConfig) -> int:
    """Channels of the vision tower's output."""
    vision = config.vision_config
    return vision.hidden_sizes[-1] if hasattr(vision, "hidden_sizes") else vision.hidden_size
