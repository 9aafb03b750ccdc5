"""The expert's network: a circular convolution round the panorama, then an MLP."""

from __future__ import annotations

import torch
from rsl_rl.models import MLPModel
from torch import nn


class CircularConv1d(nn.Module):
    """Convolution round a closed ring of columns: a matrix product of blocks of columns for each block of the kernel.

    Channels come last, so that a block is one stretch of memory and no window is ever copied.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int):
        """Windows of ``kernel`` columns every ``stride`` columns, the first at column 0; the ring closes.

        Raises:
            ValueError: If the kernel is not a whole number of strides.
        """
        super().__init__()
        if kernel % stride:
            raise ValueError(f"CircularConv1d: kernel {kernel} is no multiple of stride {stride}.")
        self.stride, self.block_count = stride, kernel // stride
        self.linear = nn.Linear(channels_in * kernel, channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, L, C_in] to [B, L / stride, C_out]."""
        blocks = x.reshape(x.shape[0], x.shape[1] // self.stride, -1)
        first, *others = self.linear.weight.chunk(self.block_count, 1)
        out = nn.functional.linear(blocks, first, self.linear.bias)
        for i, weight in enumerate(others, 1):
            out = out + nn.functional.linear(blocks, weight).roll(-i, 1)
        return out


class PanoramaModel(MLPModel):
    """An rsl_rl model that encodes the observation group ``panorama`` and joins it with all other groups.

    The panorama [B, L, C] has the azimuth's columns first, then their channels; convolutions go round it.
    """

    def __init__(
        self,
        obs,
        obs_groups,
        obs_set,
        output_dim,
        hidden_dims=(128, 64),
        activation="elu",
        obs_normalization=False,
        distribution_cfg=None,
        *,
        channels,
        kernels,
        strides,
    ):
        columns, features = obs["panorama"].shape[1:]
        for stride in strides:
            columns //= stride
        self._encoded_dim = channels[-1] * columns
        super().__init__(
            obs, obs_groups, obs_set, output_dim, hidden_dims, activation, obs_normalization, distribution_cfg
        )
        layers = []
        for before, after, kernel, stride in zip((features, *channels), channels, kernels, strides, strict=False):
            layers += [CircularConv1d(before, after, kernel, stride), nn.ELU()]
        self.encoder = nn.Sequential(*layers, nn.Flatten())

    def get_latent(self, obs, masks=None, hidden_state=None) -> torch.Tensor:
        """Joins the encoded panorama with the other groups, shape [B, latent]."""
        return torch.cat([self.encoder(obs["panorama"]), super().get_latent(obs, masks, hidden_state)], -1)

    def _get_obs_dim(self, obs, obs_groups, obs_set):
        others = [group for group in obs_groups[obs_set] if group != "panorama"]
        return super()._get_obs_dim(obs, {obs_set: others}, obs_set)

    def _get_latent_dim(self) -> int:
        return self.obs_dim + self._encoded_dim
