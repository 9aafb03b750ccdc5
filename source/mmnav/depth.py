"""Depth as policies are told it."""

from __future__ import annotations

import torch


def encode_depth(depth: torch.Tensor) -> torch.Tensor:
    """Maps depth [m] so that a centimetre counts near by and a metre far away: -log(d + 0.05 m) / 2."""
    return torch.log(depth + 0.05).mul_(-0.5)
