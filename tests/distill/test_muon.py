"""Muon does what torch's does, for kernels as for matrices, and together as one by one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmnav.distill.muon import Muon, orthogonal

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("shape", [(40, 72), (72, 40), (64, 64)])
def test_it_moves_matrices_as_torch_does(shape):
    """torch's works in bf16, of three digits."""
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    muon = Muon([ours], lr=1e-2, weight_decay=0.5)
    torchs = torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.5, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        muon.step()
        torchs.step()
    moved = (ours - theirs).norm() / (theirs - 1.0).norm()
    assert moved < 0.02


def test_it_moves_a_kernel_as_it_moves_the_matrix_of_its_outputs_and_all_as_it_moves_each():
    torch.manual_seed(0)
    kernel, matrix = nn.Parameter(torch.randn(40, 8, 3, 3)), nn.Parameter(torch.zeros(40, 72))
    matrix.data.copy_(kernel.detach().flatten(1))
    beside = nn.Parameter(torch.randn(40, 72))
    together, alone = Muon([kernel, beside], lr=0.1, weight_decay=0.0), Muon([matrix], lr=0.1, weight_decay=0.0)
    gradient, before = torch.randn(40, 72), matrix.detach().clone()
    kernel.grad, matrix.grad, beside.grad = gradient.view_as(kernel).clone(), gradient.clone(), torch.randn(40, 72)
    for optimizer in (together, alone):
        optimizer.step()
    assert not torch.equal(matrix, before)
    torch.testing.assert_close(kernel.flatten(1), matrix)


def test_a_weight_without_a_gradient_stays():
    weight = nn.Parameter(torch.randn(40, 40))
    before = weight.detach().clone()
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("shape", [(3, 8, 50), (3, 50, 8)])
def test_all_directions_become_about_equally_large(shape):
    torch.manual_seed(0)
    sizes = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert sizes.min() > 0.5
    assert sizes.max() < 1.3
