"""What the kernels read about a rig: rays by tile, the pyramids that hold them, and the cameras' mounts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .camera import RigCfg, pixel_pitch, rays

TILE = 4
"""Pixels along a tile's side; TILE * TILE is a CPU vector's 16 lanes."""

BLOCK = 16
"""Tiles whose planes are stored together, one per lane."""

_SLACK = 1e-4
"""Widening of every pyramid [rad], far above float32's rounding."""

_PITCH_MARGIN = 1.02
"""Of the half pixel pitch: covers that a round rod's bounding box is nearer than its axis less its radius."""


@dataclass(frozen=True)
class RigTables:
    """Constant inputs of the kernels, float32; the layouts are those of rig_core.h."""

    rays: np.ndarray
    """Unit directions by tile, shape [C, T, 3, 16]; pixels past the image's edge repeat its last ones."""
    tile_planes: np.ndarray
    """Inward normals of each tile's pyramid, shape [C, ceil(T / 16), 4, 3, 16]; zero where there is no such plane."""
    view_planes: np.ndarray
    """Inward normals of each view's pyramid, shape [C, 4, 3]."""
    mounts: np.ndarray
    """Robot-from-camera rotation by rows, then position [m], shape [C, 12]."""
    half_pitch: np.ndarray
    """Half the pixel pitch across and down [rad], shape [C, 2]; zero unless the rig is conservative."""

    @property
    def tile_count(self) -> int:
        """Tiles T of a view."""
        return self.rays.shape[1]


def rig_tables(cfg: RigCfg) -> RigTables:
    """Computes the tables in float64."""
    camera_count = len(cfg.cameras)
    by_tile = _by_tile(rays(cfg))  # (C, T, 16, 3)
    tile_count = by_tile.shape[1]
    blocks = -(-tile_count // BLOCK)
    planes = np.zeros((camera_count, blocks * BLOCK, 4, 3))
    planes[:, :tile_count] = _pyramids(by_tile.reshape(-1, TILE * TILE, 3)).reshape(camera_count, tile_count, 4, 3)
    half_pitch = np.array([pixel_pitch(c.lens, cfg.width, cfg.height) for c in cfg.cameras]) / 2.0 * _PITCH_MARGIN
    mounts = [np.concatenate([c.rotation.ravel(), c.position]) for c in cfg.cameras]

    def pack(table: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(table, np.float32)

    return RigTables(
        rays=pack(by_tile.swapaxes(2, 3)),
        tile_planes=pack(planes.reshape(camera_count, blocks, BLOCK, 4, 3).transpose(0, 1, 3, 4, 2)),
        view_planes=pack(_pyramids(by_tile.reshape(camera_count, -1, 3))),
        mounts=pack(np.stack(mounts)),
        half_pitch=pack(half_pitch if cfg.conservative else np.zeros_like(half_pitch)),
    )


def _by_tile(image: np.ndarray) -> np.ndarray:
    """Cuts images [C, H, W, 3] into tiles [C, T, 16, 3], row by row, repeating edge pixels to fill the last ones."""
    camera_count, height, width, _ = image.shape
    image = np.pad(image, ((0, 0), (0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    rows, columns = image.shape[1] // TILE, image.shape[2] // TILE
    tiles = image.reshape(camera_count, rows, TILE, columns, TILE, 3).swapaxes(2, 3)
    return tiles.reshape(camera_count, rows * columns, TILE * TILE, 3)


def _pyramids(bundles: np.ndarray) -> np.ndarray:
    """Four planes through the camera round each bundle of rays.

    The bundle is measured in two angles about its mean direction m: across, from m towards a first side axis, and
    along, towards a second. All rays between two angles less than pi apart lie inside the planes at those angles,
    whatever the other angle; a bundle that is wider, or has no mean direction, gets null planes, which cull nothing.

    Args:
        bundles: Unit rays, shape [N, R, 3].

    Returns:
        Inward unit normals, shape [N, 4, 3].
    """
    mean = bundles.mean(1)
    size = np.linalg.norm(mean, axis=-1, keepdims=True)
    mean = np.where(size > 1e-3, mean / np.maximum(size, 1e-3), [1.0, 0.0, 0.0])
    # Side axes along the image: from the bundle's first ray to its last would be its diagonal, so take the camera's
    # y axis, or z where the bundle looks along y.
    up = np.where(np.abs(mean[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    side = up - (up * mean).sum(-1, keepdims=True) * mean
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    other = np.cross(mean, side)
    planes = []
    forward = np.einsum("nrj,nj->nr", bundles, mean)
    for axis in (side, other):
        angle = np.arctan2(np.einsum("nrj,nj->nr", bundles, axis), forward)
        low, high = (angle.min(1) - _SLACK)[:, None], (angle.max(1) + _SLACK)[:, None]
        valid = (high - low < math.pi) & (size > 1e-3)
        planes.append(np.where(valid, np.cos(low) * axis - np.sin(low) * mean, 0.0))
        planes.append(np.where(valid, np.sin(high) * mean - np.cos(high) * axis, 0.0))
    return np.stack(planes, 1)
