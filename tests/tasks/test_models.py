"""The expert's network goes round the ring of columns without a seam."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv1d, pad

from mmnav_tasks.agents.models import CircularConv1d


@pytest.mark.parametrize(("kernel", "stride"), [(8, 4), (4, 4), (6, 2), (3, 1)])
def test_it_is_torchs_convolution_with_circular_padding(kernel, stride):
    torch.manual_seed(0)
    layer, x = CircularConv1d(3, 5, kernel, stride).double(), torch.randn(2, 16, 3, dtype=torch.float64)
    weight = layer.linear.weight.view(5, kernel, 3).transpose(1, 2)
    ring = pad(x.transpose(1, 2), (0, kernel - stride), mode="circular")
    expected = conv1d(ring, weight, layer.linear.bias, stride).transpose(1, 2)
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_turning_the_ring_by_a_stride_turns_the_output_by_one():
    layer, x = CircularConv1d(2, 4, 8, 4), torch.randn(3, 32, 2)
    assert torch.allclose(layer(x.roll(4, 1)), layer(x).roll(1, 1), atol=1e-6)


def test_gradients_reach_every_column_once_per_window():
    """Overlapping windows must add up their gradients."""
    layer, x = CircularConv1d(1, 1, 8, 4), torch.randn(1, 16, 1, requires_grad=True)
    torch.nn.init.ones_(layer.linear.weight)
    layer(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2.0))


def test_a_kernel_must_be_whole_strides():
    with pytest.raises(ValueError, match="kernel 5 is no multiple of stride 2"):
        CircularConv1d(3, 5, 5, 2)
