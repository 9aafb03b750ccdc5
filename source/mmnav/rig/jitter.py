"""Jitter: how the cameras of many worlds are really mounted, and which lenses they really have."""

from __future__ import annotations

import numpy as np

from ..camera import RigCfg
from ..scenes.draws import Draws


def place_cameras(cfg: RigCfg, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses and lenses of every world's cameras, by the worlds' seeds alone.

    Args:
        cfg: The rig.
        seeds: Seeds of E worlds, shape [E].

    Returns:
        Robot-from-camera rotations by rows, then positions [m], shape [E, C, 12]; and indices into the bank of lenses,
        shape [E, C].
    """
    count = len(cfg.cameras)
    rotation = np.stack([camera.rotation for camera in cfg.cameras])[None]
    position = np.array([camera.position for camera in cfg.cameras], dtype=float)[None]
    lens = np.broadcast_to(np.arange(count) * (cfg.jitter.lenses if cfg.jitter else 1), (len(seeds), count))
    if cfg.jitter is not None:
        draws = Draws(seeds, "cameras")
        position = position + draws.uniform(-cfg.jitter.position, cfg.jitter.position, count, 3)
        x, y, z = np.moveaxis(draws.uniform(-cfg.jitter.rotation, cfg.jitter.rotation, count, 3), -1, 0)
        rotation = rotation @ _small_turn(x, y, z)
        lens = lens + draws.integers(0, cfg.jitter.lenses, count)
    shape = (len(seeds), count)
    rows = np.broadcast_to(rotation.reshape(-1, count, 9), (*shape, 9))
    return np.concatenate([rows, np.broadcast_to(position, (*shape, 3))], -1), np.array(lens)


def _small_turn(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of rotation vectors (x, y, z) [rad] (Rodrigues)."""
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    angle = np.sqrt(x * x + y * y + z * z)[..., None, None]
    safe = np.maximum(angle, 1e-9)
    return np.eye(3) + np.sin(safe) / safe * cross + (1.0 - np.cos(safe)) / safe**2 * (cross @ cross)
