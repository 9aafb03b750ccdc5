"""What the kernels read about a rig: rays by tile, the pyramids that hold them, and the cameras' mounts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..camera import RigCfg, lens_bank, pixel_pitch, sample_rays

TILE = 4
"""Pixels along a tile's side; TILE * TILE is a CPU vector's 16 lanes."""

GRID = 4
"""Tiles along a block's side, and blocks along a patch's side: an image is cut up in steps of four."""

BLOCK = GRID * GRID
"""Tiles of a block; blocks of a patch."""

_SLACK = 1e-4
"""Widening of every pyramid [rad], far above float32's rounding."""

_PITCH_MARGIN = 1.02
"""Of the half pixel pitch: covers that a round rod's bounding box is nearer than its axis less its radius."""


@dataclass(frozen=True)
class RigTables:
    """Constant inputs of the kernels, float32, for each of L lenses; the layouts are those of rig_core.h."""

    rays: np.ndarray
    """Unit directions by tile, shape [L, S, T, 3, 16]; pixels past the image's edge repeat its last ones."""
    corners: np.ndarray
    """Row and column of each tile's first pixel, shape [T, 2], int32; some tiles may lie past the image's edge."""
    block_fences: np.ndarray
    """Inward normals round each block's columns and rows of tiles, shape [L, B, 3, 16]; see :func:`_fences`."""
    patch_fences: np.ndarray
    """The same round a patch's columns and rows of blocks, shape [L, P, 3, 16]."""
    patch_blocks: np.ndarray
    """Index of a patch's blocks, row by row, shape [P, 16], int32; -1 for blocks past the image's edge."""
    view_planes: np.ndarray
    """Inward normals of each view's pyramid, shape [L, 4, 3]."""
    half_pitch: np.ndarray
    """Half the pixel pitch across and down [rad], shape [L, 2]; zero unless the rig is conservative."""

    @property
    def tile_count(self) -> int:
        """Tiles T of a view."""
        return self.rays.shape[2]


def rig_tables(cfg: RigCfg) -> RigTables:
    """Computes the tables in float64."""
    side = TILE * GRID * GRID
    down, across = -(-cfg.height // side), -(-cfg.width // side)
    pad = ((0, down * side - cfg.height), (0, across * side - cfg.width), (0, 0))
    images = sample_rays(cfg)  # (L, S, H, W, 3)
    lens_count, samples = images.shape[:2]
    flat = images.reshape(-1, *images.shape[2:])
    split = lambda cells: cells.reshape(lens_count, samples, *cells.shape[1:])  # noqa: E731
    # (L, S, P, 16 blocks, 16 tiles, 16 pixels, 3): NaN, or the nearest real ray, where a tile hangs over the edge
    cells = split(_cells(np.pad(flat, ((0, 0), *pad), constant_values=np.nan)))
    filled = split(_cells(np.pad(flat, ((0, 0), *pad), mode="edge")))
    place = np.stack(np.meshgrid(np.arange(down * side), np.arange(across * side), indexing="ij"), -1)[None]
    corners = _cells(place)[0, ..., 0, :]  # (P, 16, 16, 2)
    exists = (corners[:, :, 0] < (cfg.height, cfg.width)).all(-1)  # (P, 16)
    together = np.moveaxis(cells, 1, -2)  # a pixel's samples beside each other: (L, P, 16, 16, 16, S, 3)
    bank = lens_bank(cfg)
    half_pitch = np.array([pixel_pitch(lens, cfg.width, cfg.height) for lens in bank]) / 2.0 * _PITCH_MARGIN

    def pack(table: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(table, np.float32)

    return RigTables(
        rays=pack(filled[:, :, exists].reshape(lens_count, samples, -1, TILE * TILE, 3).swapaxes(3, 4)),
        corners=np.ascontiguousarray(corners[exists].reshape(-1, 2), np.int32),
        block_fences=pack(_fences(together[:, exists]).swapaxes(2, 3)),
        patch_fences=pack(_fences(together).swapaxes(2, 3)),
        patch_blocks=np.where(exists, np.cumsum(exists).reshape(exists.shape) - 1, -1).astype(np.int32),
        view_planes=pack(_pyramids(images.reshape(lens_count, -1, 3))),
        half_pitch=pack(half_pitch if cfg.conservative else np.zeros_like(half_pitch)),
    )


def _cells(image: np.ndarray) -> np.ndarray:
    """Cuts images [C, H, W, D] into patches, blocks, tiles and pixels, each row by row: [C, P, 16, 16, 16, D]."""
    count, height, width, depth = image.shape
    side = TILE * GRID * GRID
    cut = image.reshape(count, height // side, GRID, GRID, TILE, width // side, GRID, GRID, TILE, depth)
    return cut.transpose(0, 1, 5, 2, 6, 3, 7, 4, 8, 9).reshape(count, -1, BLOCK, BLOCK, TILE * TILE, depth)


def _axes(bundles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean directions of bundles of rays [..., R, 3], two side axes along the image, and whether there is a mean.

    Rays that are NaN do not count.
    """
    real = np.isfinite(bundles[..., :1])
    mean = np.where(real, bundles, 0.0).sum(-2) / np.maximum(real.sum(-2), 1)
    size = np.linalg.norm(mean, axis=-1, keepdims=True)
    mean = np.where(size > 1e-3, mean / np.maximum(size, 1e-3), [1.0, 0.0, 0.0])
    # Side axes along the image: the camera's y axis, or z where the bundle looks along y.
    up = np.where(np.abs(mean[..., 1:2]) < 0.9, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    side = up - (up * mean).sum(-1, keepdims=True) * mean
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    return mean, side, np.cross(mean, side), size[..., 0] > 1e-3


def _wedges(bundles: np.ndarray, mean: np.ndarray, axis: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Two planes through the camera that hold each bundle between them, by the angle from ``mean`` towards ``axis``.

    All rays between two angles less than pi apart lie inside the planes at those angles, whatever the other angle; a
    bundle that is wider, or is not valid, gets null planes, which cull nothing.

    Args:
        bundles: Unit rays, or NaN where there is none, shape [..., R, 3].
        mean: Unit directions, shape [..., 3].
        axis: Unit directions at right angles to them, shape [..., 3].
        valid: Shape [...].

    Returns:
        Inward unit normals, shape [..., 2, 3].
    """
    angle = np.arctan2((bundles * axis[..., None, :]).sum(-1), (bundles * mean[..., None, :]).sum(-1))
    low = (np.where(np.isnan(angle), np.inf, angle).min(-1) - _SLACK)[..., None]
    high = (np.where(np.isnan(angle), -np.inf, angle).max(-1) + _SLACK)[..., None]
    some = low < high
    low, high = np.where(some, low, 0.0), np.where(some, high, 0.0)
    planes = np.stack([np.cos(low) * axis - np.sin(low) * mean, np.sin(high) * mean - np.cos(high) * axis], -2)
    return np.where(((high - low < math.pi) & some & valid[..., None])[..., None], planes, 0.0)


def _pyramids(bundles: np.ndarray) -> np.ndarray:
    """Four planes round each bundle of unit rays [N, R, 3]: inward unit normals, shape [N, 4, 3]."""
    mean, side, other, valid = _axes(bundles)
    return np.concatenate([_wedges(bundles, mean, axis, valid) for axis in (side, other)], 1)


def _fences(cells: np.ndarray) -> np.ndarray:
    """Planes round the columns and the rows of a 4x4 grid of bundles: a cell's pyramid is its column's and its row's.

    So sixteen planes serve sixteen cells, one vector operation on a CPU.

    Args:
        cells: Unit rays, shape [C, N, 16, ..., 3], the cells of each grid row by row.

    Returns:
        Inward unit normals, shape [C, N, 16, 3]: two for each column, then two for each row.
    """
    grid = cells.reshape(*cells.shape[:2], GRID, GRID, -1, 3)
    mean, side, other, valid = _axes(cells.reshape(*cells.shape[:2], -1, 3))
    fences = []
    for lines, axis in ((grid.swapaxes(2, 3), side), (grid, other)):
        bundles = lines.reshape(*cells.shape[:2], GRID, -1, 3)  # a line's cells together
        along = (a[:, :, None] for a in (mean, axis, valid))
        fences.append(_wedges(bundles, *along).reshape(*cells.shape[:2], 2 * GRID, 3))
    return np.concatenate(fences, 2)
