"""Fixtures of the rig's tests: devices, worlds and poses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from random_worlds import make_scene, random_poses, random_scene

from mmnav.scenes.batch import SceneBatch


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Every device there is."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture
def worlds() -> Callable[..., SceneBatch]:
    """See :func:`random_scene`."""
    return random_scene


@pytest.fixture
def poses() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """See :func:`random_poses`."""
    return random_poses


@pytest.fixture
def scene_of() -> Callable[..., SceneBatch]:
    """Makes one world of listed primitives: ``(kind, position, size)`` or ``(kind, position, size, quaternion)``."""

    def build(*geoms: tuple, env_count: int = 1) -> SceneBatch:
        upright = (0.0, 0.0, 0.0, 1.0)
        arrays = [
            np.array([[g[0] for g in geoms]]),
            np.array([[g[1] for g in geoms]], float),
            np.array([[g[3] if len(g) > 3 else upright for g in geoms]], float),
            np.array([[g[2] for g in geoms]], float),
        ]
        return make_scene(*(np.repeat(a, env_count, 0) for a in arrays))

    return build
