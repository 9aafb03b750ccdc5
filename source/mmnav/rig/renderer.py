"""Rig: what the cameras of many robots see, as depth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import warp as wp

from ..scenes.batch import SceneBatch
from ..threads import Threads
from . import kernels
from .camera import RigCfg
from .tables import TILE, rig_tables

NOTHING, GROUND = -1, -2
"""Values of :attr:`Rig.geom` where a ray meets no primitive: nothing within range, or the ground."""

_CHUNK_RECORDS = 8192
"""Primitive records (64 bytes) of the views that one CPU thread takes at a time: they stay in its cache."""

_STAGES = ("place", "mask", "trace")


class Rig:
    """Renders depth for C cameras on each of E robots, one in every world of a scene.

    The scene's ``kind``, ``orientation`` and ``size`` are read in place at every call, so that
    :meth:`SceneBatch.assign` is seen; ``position`` is given with each call, as things move.

    Depth is the Euclidean distance along a pixel's ray to the nearest surface [m], at most ``cfg.max_range``. A camera
    inside a primitive (or below the ground) sees depth 0 in every pixel, with that primitive's index: what is pressed
    against the lens is at no distance. An env with a NaN in its robot's pose sees ``max_range`` and nothing else, and
    a primitive with a NaN in its pose or size is not there; no other env is affected.

    On a CPU, chunks of envs are shared out to a pool of threads (Warp releases the GIL); the result does not depend
    on their number. On a GPU everything is three launches: views (small), candidate masks (small) and pixels.
    """

    def __init__(self, cfg: RigCfg, scene: SceneBatch, *, geom_ids: bool = False, threads: int | None = None):
        """Builds the tables and records the launches.

        Args:
            cfg: The rig.
            scene: E worlds of K primitives; must live as long as the rig.
            geom_ids: Whether to fill :attr:`geom`.
            threads: CPU threads; None for as many as torch has (at most 16). Ignored on a GPU.

        Raises:
            ValueError: If ``threads`` is below 1 or an array of the scene cannot be read in place.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"Rig.threads is {threads}; at least one thread must render.")
        wp.init()
        self.cfg = cfg
        self._scene = scene
        self._tables = rig_tables(cfg)
        env_count, geom_count, camera_count = scene.env_count, scene.geom_count, len(cfg.cameras)
        view_count, tile_count = env_count * camera_count, self._tables.tile_count

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=scene.device)

        def constant(name: str) -> torch.Tensor:
            return torch.from_numpy(getattr(self._tables, name)).to(scene.device)

        self._inputs = {
            "robot_position": empty(env_count, 3),
            "robot_orientation": empty(env_count, 4),
            "geom_position": empty(env_count, geom_count, 3),
        }
        self._constants = {n: constant(n) for n in ("rays", "tile_planes", "view_planes", "mounts", "half_pitch")}
        self._views = empty(view_count, kernels.VIEW_FLOATS)
        self._records = empty(view_count, geom_count, kernels.GEOM_FLOATS)
        self.masks = empty(env_count, camera_count, tile_count, dtype=torch.int64)
        """Candidate primitives of every 4x4-pixel tile as bits, shape [E, C, T], int64; tiles go row by row."""
        self.depth = empty(env_count, camera_count, cfg.height, cfg.width)
        """Depth [m] of the last call, shape [E, C, H, W]."""
        self.geom = empty(*self.depth.shape, dtype=torch.int32) if geom_ids else None
        """Primitive hit, :data:`NOTHING` or :data:`GROUND`, shape [E, C, H, W], int32; None unless asked for."""

        on_cpu = scene.device.type == "cpu"
        views = max(1, _CHUNK_RECORDS // max(geom_count, 1)) if on_cpu else view_count
        self._chunks = [self._record(v, min(views, view_count - v), on_cpu) for v in range(0, view_count, views)]
        self._threads = Threads(threads) if on_cpu and len(self._chunks) > 1 else Threads(1)

    def render_depth(
        self, robot_position: torch.Tensor, robot_orientation: torch.Tensor, geom_position: torch.Tensor
    ) -> torch.Tensor:
        """Renders all cameras of all envs.

        Args:
            robot_position: Centres of the robots' bases in their worlds [m], shape [E, 3].
            robot_orientation: World-from-base unit quaternions (x, y, z, w), shape [E, 4].
            geom_position: Centres of the primitives now [m], shape [E, K, 3].

        Returns:
            :attr:`depth`, shape [E, C, H, W]. It is the same memory at every call: clone it to keep it.

        Raises:
            ValueError: If an argument has another shape.
        """
        given = (robot_position, robot_orientation, geom_position)
        for (name, buffer), value in zip(self._inputs.items(), given, strict=True):
            if value.shape != buffer.shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; this rig needs {tuple(buffer.shape)}.")
            buffer.copy_(value)
        self._run(_STAGES)
        return self.depth

    def _run(self, stages: Sequence[str]) -> None:
        """Runs stages, in order within each chunk; chunks are independent of each other."""
        self._threads.run([partial(_launch, chunk, stages) for chunk in self._chunks])

    def _record(self, first_view: int, view_count: int, on_cpu: bool) -> dict[str, wp.Launch]:
        """Records the launches of all stages for a range of views."""
        cfg, scene, tables = self.cfg, self._scene, self._tables
        cameras, geoms, tiles = len(cfg.cameras), scene.geom_count, tables.tile_count
        pixels = tiles * TILE * TILE
        tile_share, pixel_share = (tiles, pixels) if on_cpu else (1, 1)

        def flat(tensor: torch.Tensor, name: str = "") -> wp.array:
            if not tensor.is_contiguous():
                raise ValueError(f"SceneBatch.{name} is not contiguous; the rig reads it in place.")
            return wp.from_torch(tensor.view(-1))

        constants = {name: flat(table) for name, table in self._constants.items()}
        robot_position, robot_orientation, geom_position = (flat(t) for t in self._inputs.values())
        views, records, masks, depth = (flat(t) for t in (self._views, self._records, self.masks, self.depth))
        index = flat(self.geom) if self.geom is not None else wp.zeros(1, dtype=int, device=depth.device)

        def record(kernel: wp.Kernel, dim: tuple[int, ...], inputs: list, outputs: list) -> wp.Launch:
            return wp.launch(kernel, dim, inputs, outputs, device=depth.device, record_cmd=True)

        place = record(
            kernels.place_views,
            (view_count,),
            [first_view, cameras, geoms, cfg.max_range]
            + [constants[n] for n in ("mounts", "view_planes", "half_pitch")]
            + [robot_position, robot_orientation, flat(scene.kind, "kind"), geom_position]
            + [flat(scene.orientation, "orientation"), flat(scene.size, "size")],
            [views, records],
        )
        mask = record(
            kernels.mask_tiles,
            (view_count, -(-tiles // tile_share)),
            [first_view, tile_share, cameras, geoms, tiles, constants["tile_planes"], views, records],
            [masks],
        )
        trace = record(
            kernels.trace_pixels,
            (view_count, -(-pixels // pixel_share)),
            [first_view, pixel_share, cameras, geoms, tiles, cfg.width, cfg.height, cfg.max_range, cfg.ground]
            + [self.geom is not None, constants["rays"], views, records, masks],
            [depth, index],
        )
        return {"place": place, "mask": mask, "trace": trace}


def _launch(chunk: dict[str, wp.Launch], stages: Sequence[str]) -> None:
    for stage in stages:
        chunk[stage].launch()
