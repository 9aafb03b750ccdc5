"""Random worlds with primitives of every kind in any orientation, and random poses in them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from mmnav.scenes.batch import Kind, SceneBatch


def make_scene(kind: np.ndarray, position: np.ndarray, orientation: np.ndarray, size: np.ndarray) -> SceneBatch:
    """A scene of given primitives, shapes [E, K(, 3 or 4)]; what depth does not depend on is zero."""
    env_count, geom_count = kind.shape
    position = torch.tensor(position, dtype=torch.float32)
    return SceneBatch(
        kind=torch.tensor(kind, dtype=torch.int32),
        position=position,
        orientation=torch.tensor(orientation, dtype=torch.float32),
        size=torch.tensor(size, dtype=torch.float32),
        waypoints=position[:, :, None].repeat(1, 1, 2, 1),
        speed=torch.zeros(env_count, geom_count),
        color=torch.zeros(env_count, geom_count, 3),
        texture=torch.zeros(env_count, geom_count, dtype=torch.int32),
        bounds=torch.zeros(env_count, 4),
        start=torch.zeros(env_count, 3),
        goal=torch.zeros(env_count, 2),
        seed=torch.arange(env_count),
        difficulty=torch.zeros(env_count),
    )


def random_scene(env_count: int, geom_count: int, seed: int, *, extent: float = 4.0) -> SceneBatch:
    """Primitives of all kinds, a tenth of the slots unused, in uniform orientations, thin and thick, near and far."""
    rng = np.random.default_rng(seed)
    shape = (env_count, geom_count)
    kind = np.where(rng.random(shape) < 0.1, Kind.NONE, rng.integers(1, 6, shape)).astype(np.int32)
    position = rng.uniform(-extent, extent, (*shape, 3)) * [1.0, 1.0, 0.3] + [0.0, 0.0, 0.7]
    orientation = Rotation.random(env_count * geom_count, random_state=seed).as_quat().reshape(*shape, 4)
    size = np.exp(rng.uniform(np.log(0.03), np.log(1.5), (*shape, 3)))
    size[..., 1] = np.where(kind == Kind.BOX, size[..., 1], size[..., 0])
    size[..., 2] = np.where(kind == Kind.SPHERE, size[..., 0], size[..., 2])
    size[..., 2] = np.where(kind == Kind.CAPSULE, np.maximum(size[..., 2], size[..., 0]), size[..., 2])
    return make_scene(kind, position, orientation, size)


def random_poses(env_count: int, seed: int, *, tilt: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [E, 3] within 2 m and orientations [E, 4] of robots, rolled and pitched by up to ``tilt`` rad."""
    rng = np.random.default_rng(seed + 1000)
    position = np.concatenate([rng.uniform(-2.0, 2.0, (env_count, 2)), rng.uniform(0.4, 1.2, (env_count, 1))], 1)
    angles = rng.uniform(-1.0, 1.0, (env_count, 3)) * [np.pi, tilt, tilt]
    orientation = Rotation.from_euler("ZYX", angles).as_quat()
    return torch.tensor(position, dtype=torch.float32), torch.tensor(orientation, dtype=torch.float32)
