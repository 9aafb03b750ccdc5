"""Tables: the planes that cull hold every ray they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from mmnav.camera import CameraCfg, LensCfg, RigCfg
from mmnav.rig.tables import rig_tables


@pytest.mark.parametrize(("width", "height"), [(4, 4), (5, 9), (32, 8), (33, 17), (80, 20)])
def test_pyramids_hold_their_rays(width, height):
    """Every ray is inside its tile's column and row, its block's, and its view, in float32."""
    cfg = RigCfg((CameraCfg(LensCfg(fx=30.0, fy=15.0, cx=width / 2, cy=height / 2)),), width, height)
    tables = rig_tables(cfg)
    there = (tables.corners + 4 <= (height, width)).all(-1)  # whole tiles
    for tile in np.flatnonzero(there):
        fence, rays = tables.block_fences[0, tile // 16], tables.rays[0, 0, tile]  # (3, 16) each
        row, column = divmod(tile % 16, 4)
        planes = fence[:, [2 * column, 2 * column + 1, 8 + 2 * row, 9 + 2 * row]]
        assert (planes.T @ rays > 0.0).all()
        assert (tables.view_planes[0] @ rays > 0.0).all()
        patch, block = np.argwhere(tables.patch_blocks == tile // 16)[0]
        row, column = divmod(block, 4)
        planes = tables.patch_fences[0, patch][:, [2 * column, 2 * column + 1, 8 + 2 * row, 9 + 2 * row]]
        assert (planes.T @ rays > 0.0).all()
