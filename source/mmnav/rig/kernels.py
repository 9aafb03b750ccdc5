"""The rig's Warp kernels: thin shells round the stages of rig_core.h.

On a CPU a task is a whole view and loops over it, 16 lanes at a time; on a GPU it is one patch or one pixel. All
arrays are flat, so that the C++ core sees plain pointers; their layouts are documented in renderer.py and tables.py.
"""

from __future__ import annotations

from pathlib import Path

import warp as wp

_CORE = Path(__file__).with_name("rig_core.h").read_text()

wp.set_module_options(
    {
        "enable_backward": False,
        "extra_build_options": wp.ModuleBuildOptions(extra_cpu_preamble=_CORE, extra_cuda_preamble=_CORE),
    }
)

VIEW_FLOATS = 16
"""Size of a View record."""

GEOM_FLOATS = 16
"""Size of a ViewGeom record."""


@wp.func_native("""
    using namespace mmnav_rig;
    const size_t e = v / cameras, c = v % cameras, g = e * geoms;
    place_view(robot_position.data + 3 * e, robot_orientation.data + 4 * e, mounts.data + 12 * c,
               planes.data + 3 * PLANES * c, kind.data + g, position.data + 3 * g, orientation.data + 4 * g,
               size.data + 3 * g, geoms, range, half_pitch.data[2 * c], half_pitch.data[2 * c + 1],
               (View*)view_out.data + v, (ViewGeom*)geom_out.data + size_t(v) * geoms);
""")
def _place_view(
    v: int,
    cameras: int,
    geoms: int,
    range: float,
    mounts: wp.array(dtype=float),
    planes: wp.array(dtype=float),
    half_pitch: wp.array(dtype=float),
    robot_position: wp.array(dtype=float),
    robot_orientation: wp.array(dtype=float),
    kind: wp.array(dtype=int),
    position: wp.array(dtype=float),
    orientation: wp.array(dtype=float),
    size: wp.array(dtype=float),
    view_out: wp.array(dtype=float),
    geom_out: wp.array(dtype=float),
): ...


@wp.kernel
def place_views(
    first_view: int,
    cameras: int,
    geoms: int,
    range: float,
    mounts: wp.array(dtype=float),
    planes: wp.array(dtype=float),
    half_pitch: wp.array(dtype=float),
    robot_position: wp.array(dtype=float),
    robot_orientation: wp.array(dtype=float),
    kind: wp.array(dtype=int),
    position: wp.array(dtype=float),
    orientation: wp.array(dtype=float),
    size: wp.array(dtype=float),
    view_out: wp.array(dtype=float),
    geom_out: wp.array(dtype=float),
):
    """Places views: one task a view."""
    v = first_view + wp.tid()
    _place_view(
        v, cameras, geoms, range, mounts, planes, half_pitch, robot_position, robot_orientation, kind, position,
        orientation, size, view_out, geom_out,
    )  # fmt: skip


@wp.func_native("""
    using namespace mmnav_rig;
    const size_t c = v % cameras;
    mask_patch(((const View*)view.data)[v], (const ViewGeom*)geom.data + size_t(v) * geoms,
               patch_fences.data + (c * patches + patch) * FENCE, block_fences.data + c * blocks * FENCE,
               patch_blocks.data + patch * BLOCK, (u64*)mask_out.data + size_t(v) * blocks * BLOCK);
""")
def _mask_patch(
    v: int,
    patch: int,
    cameras: int,
    geoms: int,
    patches: int,
    blocks: int,
    patch_fences: wp.array(dtype=float),
    block_fences: wp.array(dtype=float),
    patch_blocks: wp.array(dtype=int),
    view: wp.array(dtype=float),
    geom: wp.array(dtype=float),
    mask_out: wp.array(dtype=wp.int64),
): ...


@wp.kernel
def mask_patches(
    first_view: int,
    cameras: int,
    geoms: int,
    patches: int,
    blocks: int,
    patch_fences: wp.array(dtype=float),
    block_fences: wp.array(dtype=float),
    patch_blocks: wp.array(dtype=int),
    view: wp.array(dtype=float),
    geom: wp.array(dtype=float),
    mask_out: wp.array(dtype=wp.int64),
):
    """Candidate masks: one patch of one view a task."""
    v, patch = wp.tid()
    _mask_patch(
        first_view + v, patch, cameras, geoms, patches, blocks, patch_fences, block_fences, patch_blocks, view, geom,
        mask_out,
    )  # fmt: skip


@wp.func_native("""
    using namespace mmnav_rig;
    const View& seen = ((const View*)view.data)[v];
    const ViewGeom* records = (const ViewGeom*)geom.data + size_t(v) * geoms;
    const u64* masks = (const u64*)mask.data + size_t(v) * tiles;
    const float* directions = rays.data + size_t(v % cameras) * tiles * (3 * TILE_PIXELS);
    float* depth = depth_out.data + size_t(v) * width * height;
    int* index = index_out.data + size_t(v) * width * height;
    const int last = tiles * TILE_PIXELS;
    for (int pixel = task * share; pixel < (task + 1) * share && pixel < last; pixel += LANES) {
        if (with_index)
            trace_pixels<true>(seen, records, masks, directions, corners.data, pixel, width, height, range, ground,
                               depth, index);
        else
            trace_pixels<false>(seen, records, masks, directions, corners.data, pixel, width, height, range, ground,
                                depth, index);
    }
""")
def _trace_pixels(
    v: int,
    task: int,
    share: int,
    cameras: int,
    geoms: int,
    tiles: int,
    width: int,
    height: int,
    range: float,
    ground: bool,
    with_index: bool,
    rays: wp.array(dtype=float),
    corners: wp.array(dtype=int),
    view: wp.array(dtype=float),
    geom: wp.array(dtype=float),
    mask: wp.array(dtype=wp.int64),
    depth_out: wp.array(dtype=float),
    index_out: wp.array(dtype=int),
): ...


@wp.kernel
def trace_pixels(
    first_view: int,
    share: int,
    cameras: int,
    geoms: int,
    tiles: int,
    width: int,
    height: int,
    range: float,
    ground: bool,
    with_index: bool,
    rays: wp.array(dtype=float),
    corners: wp.array(dtype=int),
    view: wp.array(dtype=float),
    geom: wp.array(dtype=float),
    mask: wp.array(dtype=wp.int64),
    depth_out: wp.array(dtype=float),
    index_out: wp.array(dtype=int),
):
    """Depth, and the index of what is hit if asked: ``share`` pixels, in tile order, a task."""
    v, task = wp.tid()
    _trace_pixels(
        first_view + v, task, share, cameras, geoms, tiles, width, height, range, ground, with_index, rays, corners,
        view, geom, mask, depth_out, index_out,
    )  # fmt: skip
