"""The rig's Warp kernels: thin shells round the stages of rig_core.h and rig_shade.h.

On a CPU a task is a whole view and loops over it, 16 lanes at a time; on a GPU it is one patch or one pixel. All
arrays are flat, so that the C++ core sees plain pointers; their layouts are documented in renderer.py and tables.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import warp as wp

_CORE = "\n".join(Path(__file__).with_name(name).read_text() for name in ("rig_core.h", "rig_shade.h"))
if os.getenv("MMNAV_ONE_LANE"):
    _CORE = "#define RIG_ONE_LANE\n" + _CORE  # as on a GPU, for tests: 8 times slower on a CPU

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

LOOK_FLOATS, PAINT_FLOATS, CASTER_FLOATS = 32, 12, 20
"""Sizes of Look, Paint and Caster records."""

SUN_WORDS = 6 + 2 * 64
"""Size of a SunTable record [64-bit words]."""


@wp.func_native("""
    using namespace mmnav_rig;
    const size_t e = v / cameras, l = lens.data[v], g = e * geoms;
    place_view(robot_position.data + 3 * e, robot_orientation.data + 4 * e, mounts.data + 12 * size_t(v),
               planes.data + 3 * PLANES * l, kind.data + g, position.data + 3 * g, orientation.data + 4 * g,
               size.data + 3 * g, geoms, range, half_pitch.data[2 * l], half_pitch.data[2 * l + 1],
               (View*)view_out.data + v, (ViewGeom*)geom_out.data + size_t(v) * geoms);
""")
def _place_view(
    v: int,
    cameras: int,
    geoms: int,
    range: float,
    lens: wp.array(dtype=int),
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
    watched: wp.array(dtype=wp.uint8),
    geoms: int,
    range: float,
    lens: wp.array(dtype=int),
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
    if watched[v // cameras] == wp.uint8(0):
        return
    _place_view(
        v, cameras, geoms, range, lens, mounts, planes, half_pitch, robot_position, robot_orientation, kind, position,
        orientation, size, view_out, geom_out,
    )  # fmt: skip


@wp.func_native("""
    using namespace mmnav_rig;
    const size_t l = lens.data[v];
    mask_patch(((const View*)view.data)[v], (const ViewGeom*)geom.data + size_t(v) * geoms,
               patch_fences.data + (l * patches + patch) * FENCE, block_fences.data + l * blocks * FENCE,
               patch_blocks.data + patch * BLOCK, (u64*)mask_out.data + size_t(v) * blocks * BLOCK);
""")
def _mask_patch(
    v: int,
    patch: int,
    geoms: int,
    patches: int,
    blocks: int,
    lens: wp.array(dtype=int),
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
    watched: wp.array(dtype=wp.uint8),
    geoms: int,
    patches: int,
    blocks: int,
    lens: wp.array(dtype=int),
    patch_fences: wp.array(dtype=float),
    block_fences: wp.array(dtype=float),
    patch_blocks: wp.array(dtype=int),
    view: wp.array(dtype=float),
    geom: wp.array(dtype=float),
    mask_out: wp.array(dtype=wp.int64),
):
    """Candidate masks: one patch of one view a task."""
    v, patch = wp.tid()
    if watched[(first_view + v) // cameras] == wp.uint8(0):
        return
    _mask_patch(
        first_view + v, patch, geoms, patches, blocks, lens, patch_fences, block_fences, patch_blocks, view, geom,
        mask_out,
    )  # fmt: skip


@wp.func_native("""
    using namespace mmnav_rig;
    const View& seen = ((const View*)view.data)[v];
    const ViewGeom* records = (const ViewGeom*)geom.data + size_t(v) * geoms;
    const u64* masks = (const u64*)mask.data + size_t(v) * tiles;
    const size_t stride = size_t(tiles) * (3 * TILE_PIXELS);
    const float* directions = rays.data + size_t(lens.data[v]) * samples * stride;
    float* depth = depth_out.data + size_t(v) * width * height;
    int* index = index_out.data + size_t(v) * width * height;
    const int last = tiles * TILE_PIXELS;
    for (int pixel = task * share; pixel < (task + 1) * share && pixel < last; pixel += LANES) {
        if (with_index)
            trace_pixels<true>(seen, records, masks, directions, samples, stride, corners.data, pixel, width,
                               height, range, ground, depth, index);
        else
            trace_pixels<false>(seen, records, masks, directions, samples, stride, corners.data, pixel, width,
                                height, range, ground, depth, index);
    }
""")
def _trace_pixels(
    v: int,
    task: int,
    share: int,
    geoms: int,
    tiles: int,
    samples: int,
    width: int,
    height: int,
    range: float,
    ground: bool,
    with_index: bool,
    lens: wp.array(dtype=int),
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
    cameras: int,
    watched: wp.array(dtype=wp.uint8),
    share: int,
    geoms: int,
    tiles: int,
    samples: int,
    width: int,
    height: int,
    range: float,
    ground: bool,
    with_index: bool,
    lens: wp.array(dtype=int),
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
    if watched[(first_view + v) // cameras] == wp.uint8(0):
        return
    _trace_pixels(
        first_view + v, task, share, geoms, tiles, samples, width, height, range, ground, with_index, lens, rays,
        corners, view, geom, mask, depth_out, index_out,
    )  # fmt: skip


@wp.func_native("""
    using namespace mmnav_rig;
    const size_t g = size_t(e) * geoms;
    light_world(((const Look*)look.data)[e], kind.data + g, position.data + 3 * g, orientation.data + 4 * g,
                size.data + 3 * g, geoms, (Caster*)caster_out.data + g, (SunTable*)sun_out.data + e);
""")
def _light_world(
    e: int,
    geoms: int,
    look: wp.array(dtype=float),
    kind: wp.array(dtype=int),
    position: wp.array(dtype=float),
    orientation: wp.array(dtype=float),
    size: wp.array(dtype=float),
    caster_out: wp.array(dtype=float),
    sun_out: wp.array(dtype=wp.int64),
): ...


@wp.kernel
def light_worlds(
    first_env: int,
    watched: wp.array(dtype=wp.uint8),
    geoms: int,
    look: wp.array(dtype=float),
    kind: wp.array(dtype=int),
    position: wp.array(dtype=float),
    orientation: wp.array(dtype=float),
    size: wp.array(dtype=float),
    caster_out: wp.array(dtype=float),
    sun_out: wp.array(dtype=wp.int64),
):
    """Shadow tables: one world a task."""
    e = first_env + wp.tid()
    if watched[e] == wp.uint8(0):
        return
    _light_world(e, geoms, look, kind, position, orientation, size, caster_out, sun_out)


@wp.func_native("""
    using namespace mmnav_rig;
    const size_t e = v / cameras, images = size_t(v) * width * height, stride = size_t(tiles) * (3 * TILE_PIXELS);
    const View& seen = ((const View*)view.data)[v];
    const ViewGeom* records = (const ViewGeom*)geom.data + size_t(v) * geoms;
    const u64* masks = (const u64*)mask.data + size_t(v) * tiles;
    const Look& world = ((const Look*)look.data)[e];
    const Paint* paints = (const Paint*)paint.data + e * geoms;
    const Caster* casters = (const Caster*)caster.data + e * geoms;
    const SunTable* table = (const SunTable*)sun.data + e;
    const float* directions = rays.data + size_t(lens.data[v]) * samples * stride;
    const unsigned noise = scramble((unsigned)world.seed * 0x9e3779b1u
                                    ^ scramble((unsigned)frame.data[e] * 64u + (unsigned)(v % cameras)));
    const int last = tiles * TILE_PIXELS;
    for (int pixel = task * share; pixel < (task + 1) * share && pixel < last; pixel += LANES) {
        if (shadows)
            shade_pixels<true>(seen, records, masks, world, paints, casters, table, directions, samples, stride,
                               corners.data, pixel, width, height, range, ground, noise, rgb_out.data + 3 * images,
                               depth_out.data + images, label_out.data + images);
        else
            shade_pixels<false>(seen, records, masks, world, paints, casters, table, directions, samples, stride,
                                corners.data, pixel, width, height, range, ground, noise, rgb_out.data + 3 * images,
                                depth_out.data + images, label_out.data + images);
    }
""")
def _shade_pixels(
    v: int,
    task: int,
    share: int,
    cameras: int,
    geoms: int,
    tiles: int,
    samples: int,
    width: int,
    height: int,
    range: float,
    ground: bool,
    shadows: bool,
    lens: wp.array(dtype=int),
    rays: wp.array(dtype=float),
    corners: wp.array(dtype=int),
    look: wp.array(dtype=float),
    paint: wp.array(dtype=float),
    frame: wp.array(dtype=int),
    caster: wp.array(dtype=float),
    sun: wp.array(dtype=wp.int64),
    view: wp.array(dtype=float),
    geom: wp.array(dtype=float),
    mask: wp.array(dtype=wp.int64),
    rgb_out: wp.array(dtype=wp.uint8),
    depth_out: wp.array(dtype=float),
    label_out: wp.array(dtype=wp.uint8),
): ...


@wp.kernel
def shade_pixels(
    first_view: int,
    cameras: int,
    watched: wp.array(dtype=wp.uint8),
    share: int,
    geoms: int,
    tiles: int,
    samples: int,
    width: int,
    height: int,
    range: float,
    ground: bool,
    shadows: bool,
    lens: wp.array(dtype=int),
    rays: wp.array(dtype=float),
    corners: wp.array(dtype=int),
    look: wp.array(dtype=float),
    paint: wp.array(dtype=float),
    frame: wp.array(dtype=int),
    caster: wp.array(dtype=float),
    sun: wp.array(dtype=wp.int64),
    view: wp.array(dtype=float),
    geom: wp.array(dtype=float),
    mask: wp.array(dtype=wp.int64),
    rgb_out: wp.array(dtype=wp.uint8),
    depth_out: wp.array(dtype=float),
    label_out: wp.array(dtype=wp.uint8),
):
    """Colour, depth and class: ``share`` pixels, in tile order, a task."""
    v, task = wp.tid()
    if watched[(first_view + v) // cameras] == wp.uint8(0):
        return
    _shade_pixels(
        first_view + v, task, share, cameras, geoms, tiles, samples, width, height, range, ground, shadows, lens, rays,
        corners, look, paint, frame, caster, sun, view, geom, mask, rgb_out, depth_out, label_out,
    )  # fmt: skip
