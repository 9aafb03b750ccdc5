"""Muon: matrices move by the same amount in all of their directions (arXiv 2502.16982)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Of every step towards an orthogonal matrix, as in torch's Muon."""
_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum, made orthogonal: for matrices, and for kernels as matrices with a row for each output.

    What ``torch.optim.Muon`` does with ``adjust_lr_fn="match_rms_adamw"``, for kernels as well, matrices of one shape
    together, and in fp32: a CPU that has no bf16 in hardware spends half of a training step on torch's.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95):
        """Takes parameters of two dimensions or more.

        Args:
            weights: They.
            lr: Learning rate; steps are scaled so that AdamW's rates suit them (equation 4).
            weight_decay: A share of the learning rate.
            momentum: Of the gradients.
        """
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Moves the parameters that have gradients."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault((len(weight), weight[0].numel()), []).append(weight)
            for shape, weights in alike.items():
                wanted = torch.stack([self._momentum(weight, group["momentum"]).view(shape) for weight in weights])
                size = group["lr"] * 0.2 * max(shape) ** 0.5
                for weight, change in zip(weights, orthogonal(wanted), strict=True):
                    weight.mul_(1.0 - group["lr"] * group["weight_decay"]).sub_(change.view_as(weight), alpha=size)

    def _momentum(self, weight: nn.Parameter, momentum: float) -> torch.Tensor:
        """Nesterov's, with this step's gradient."""
        gradient = weight.grad.contiguous()
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1.0 - momentum)
        return gradient.lerp(mean, momentum)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices with the same directions, all about equally large, by Newton and Schulz's iteration.

    Every step is a polynomial of the matrix times its transpose, so all but the last product are of the smaller side's
    size.

    Args:
        matrices: Shape [N, rows, columns].
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _POLYNOMIAL
    square, same = wide @ wide.mT, torch.eye(wide.shape[1], device=wide.device)
    turn = same.expand_as(square)
    for _ in range(_STEPS):
        factor = a * same + b * square + c * (square @ square)
        turn, square = factor @ turn, factor @ square @ factor
    made = turn @ wide
    return made if matrices.shape[1] <= matrices.shape[2] else made.mT
