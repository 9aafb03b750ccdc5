"""Rig: what the cameras of many robots see, as depth and in colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import warp as wp

from ..camera import RigCfg, lens_bank
from ..scenes.batch import SceneBatch
from ..threads import Threads
from . import kernels
from .jitter import place_cameras
from .look import Look, LookCfg, draw_look
from .tables import BLOCK, TILE, rig_tables

NOTHING, GROUND = -1, -2
"""Values of :attr:`Rig.geom` where a ray meets no primitive: nothing within range, or the ground."""

LABELS = ("sky", "ground", "box", "cylinder", "cone", "sphere", "capsule")
"""Classes of :attr:`Images.label`."""

_CHUNK_RECORDS = 8192
"""Primitive records (64 bytes) of the views that one CPU thread takes at a time, at most: they stay in its cache."""
_CHUNKS_A_THREAD = 4
"""Chunks that each of several threads gets, at least: so that none waits long for the last."""

_DEPTH_STAGES = ("place", "mask", "trace")
_COLOR_STAGES = ("place", "mask", "shade")
_SHADOW_STAGES = ("place", "mask", "light", "shade")
_CONSTANTS = ("rays", "corners", "block_fences", "patch_fences", "patch_blocks", "view_planes", "half_pitch")


@dataclass(frozen=True)
class Images:
    """What :meth:`Rig.render` writes; the same memory at every call."""

    rgb: torch.Tensor
    """Colour, planar, shape [E, C, 3, H, W], uint8; the square root of linear light."""
    depth: torch.Tensor
    """Depth [m], shape [E, C, H, W], float32."""
    label: torch.Tensor
    """Class as an index into :data:`LABELS`, shape [E, C, H, W], uint8."""


class Rig:
    """Renders C cameras on each of E robots, one in every world of a scene.

    The scene's ``kind``, ``orientation`` and ``size`` are read in place at every call, so that
    :meth:`SceneBatch.assign` is seen; ``position`` is given with each call, as things move. Looks and the cameras'
    jitter are drawn from the scene's seeds, colours and textures at the start and by :meth:`reset`.

    Depth is the Euclidean distance along a pixel's ray to the nearest surface [m], at most ``cfg.max_range``. A camera
    inside a primitive (or below the ground) sees depth 0 in every pixel, with that primitive's index: what is pressed
    against the lens is at no distance. An env with a NaN in its robot's pose sees ``max_range`` and nothing else, and
    a primitive with a NaN in its pose or size is not there; no other env is affected.

    On a CPU, chunks of envs are shared out to a pool of threads (Warp releases the GIL); the result does not depend
    on their number. On a GPU every stage is one launch for all envs.
    """

    def __init__(
        self,
        cfg: RigCfg,
        scene: SceneBatch,
        *,
        look: LookCfg | None = None,
        shadows: bool = True,
        geom_ids: bool = False,
        threads: int | None = None,
    ):
        """Builds the tables and records the launches.

        Args:
            cfg: The rig.
            scene: E worlds of K primitives; must live as long as the rig.
            look: Ranges of the worlds' looks; a rig without can only render depth.
            shadows: Whether primitives cast shadows in colour images.
            geom_ids: Whether :meth:`render_depth` fills :attr:`geom`.
            threads: CPU threads; None for as many as torch has (at most 16). Ignored on a GPU.

        Raises:
            ValueError: If ``threads`` is below 1 or an array of the scene cannot be read in place.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"Rig.threads is {threads}; at least one thread must render.")
        wp.init()
        self.cfg = cfg
        self._scene, self._look_cfg, self._shadows = scene, look, shadows
        self._tables = rig_tables(cfg)
        env_count, geom_count, camera_count = scene.env_count, scene.geom_count, len(cfg.cameras)
        view_count, tile_count = env_count * camera_count, self._tables.tile_count

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=scene.device)

        self._inputs = {
            "robot_position": empty(env_count, 3),
            "robot_orientation": empty(env_count, 4),
            "geom_position": empty(env_count, geom_count, 3),
        }
        self._constants = {n: torch.from_numpy(getattr(self._tables, n)).to(scene.device) for n in _CONSTANTS}
        self._mounts = empty(env_count, camera_count, 12)
        self._lens = empty(env_count, camera_count, dtype=torch.int32)
        self._views = empty(view_count, kernels.VIEW_FLOATS)
        self._records = empty(view_count, geom_count, kernels.GEOM_FLOATS)
        self.masks = empty(env_count, camera_count, tile_count, dtype=torch.int64)
        """Candidate primitives of every 4x4-pixel tile as bits, shape [E, C, T], int64; see
        :attr:`RigTables.corners` for their places."""
        self.depth = empty(env_count, camera_count, cfg.height, cfg.width)
        """Depth [m] of the last call, shape [E, C, H, W]."""
        self.geom = empty(*self.depth.shape, dtype=torch.int32) if geom_ids else None
        """Primitive hit, :data:`NOTHING` or :data:`GROUND`, shape [E, C, H, W], int32; None unless asked for."""
        self.images: Images | None = None
        """Images of the last :meth:`render`; None without a look."""
        if look is not None:
            self._look = Look(empty(env_count, kernels.LOOK_FLOATS), empty(env_count, geom_count, kernels.PAINT_FLOATS))
            self._frame = empty(env_count, dtype=torch.int32)
            self._casters = empty(env_count, geom_count, kernels.CASTER_FLOATS)
            self._suns = empty(env_count, kernels.SUN_WORDS, dtype=torch.int64)
            shape = (env_count, camera_count, cfg.height, cfg.width)
            rgb = empty(*shape[:2], 3, *shape[2:], dtype=torch.uint8)
            self.images = Images(rgb, self.depth, empty(*shape, dtype=torch.uint8))
        self._watched = torch.ones(env_count, dtype=torch.uint8, device=scene.device)
        self.reset()
        self._share_out(threads)

    def watch(self, watched: torch.Tensor) -> None:
        """Renders only some worlds from now on; the others keep their last images.

        Args:
            watched: Whether a world is rendered, shape [E], bool.
        """
        self._watched.copy_(watched)

    def _share_out(self, threads: int | None) -> None:
        """Records the launches: on a CPU in chunks of envs that threads draw, on a GPU for all envs at once."""
        env_count, camera_count, geom_count = *self.masks.shape[:2], self._scene.geom_count
        on_cpu = self._scene.device.type == "cpu"
        self._threads = Threads(threads) if on_cpu and env_count > 1 else Threads(1)
        in_cache = _CHUNK_RECORDS // max(geom_count * camera_count, 1)
        if self._threads.count > 1:
            in_cache = min(in_cache, -(-env_count // (_CHUNKS_A_THREAD * self._threads.count)))
        envs = max(1, in_cache) if on_cpu else env_count
        self._chunks = [self._record(e, min(envs, env_count - e), on_cpu) for e in range(0, env_count, envs)]

    def reset(self, env_ids: torch.Tensor | None = None, frame: torch.Tensor | int = 0) -> None:
        """Draws the looks and the cameras of worlds anew: to be called when their layouts, hence their seeds, change.

        Args:
            env_ids: Worlds, shape [N]; all if None.
            frame: Number of the next call of :meth:`render`, which decides on the sensor's noise, shape [N] or one.
        """
        env_ids = torch.arange(self._scene.env_count, device=self._scene.device) if env_ids is None else env_ids
        mounts, lens = place_cameras(self.cfg, self._scene.seed[env_ids].cpu().numpy())
        self._mounts[env_ids] = torch.from_numpy(mounts).to(self._mounts)
        self._lens[env_ids] = torch.from_numpy(lens).to(self._lens)
        if self._look_cfg is not None:
            look = draw_look(self._look_cfg, self._scene[env_ids])
            self._look.worlds[env_ids] = look.worlds.to(self._look.worlds.device)
            self._look.paints[env_ids] = look.paints.to(self._look.paints.device)
            self._frame[env_ids] = torch.as_tensor(frame, dtype=torch.int32, device=self._frame.device)

    @property
    def mounts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the cameras are on the robots: positions [m], shape [E, C, 3], and rotations, shape [E, C, 3, 3]."""
        return self._mounts[..., 9:], self._mounts[..., :9].unflatten(-1, (3, 3))

    @property
    def intrinsics(self) -> torch.Tensor:
        """Matrices ((fx, 0, cx), (0, fy, cy), (0, 0, 1)) of the cameras' lenses [px], shape [E, C, 3, 3]."""
        bank = [((lens.fx, 0.0, lens.cx), (0.0, lens.fy, lens.cy), (0.0, 0.0, 1.0)) for lens in lens_bank(self.cfg)]
        return torch.tensor(bank, device=self._lens.device)[self._lens.long()]

    def render_depth(
        self, robot_position: torch.Tensor, robot_orientation: torch.Tensor, geom_position: torch.Tensor
    ) -> torch.Tensor:
        """Renders the depth of all cameras of all envs.

        Args:
            robot_position: Centres of the robots' bases in their worlds [m], shape [E, 3].
            robot_orientation: World-from-base unit quaternions (x, y, z, w), shape [E, 4].
            geom_position: Centres of the primitives now [m], shape [E, K, 3].

        Returns:
            :attr:`depth`, shape [E, C, H, W]. It is the same memory at every call: clone it to keep it.

        Raises:
            ValueError: If an argument has another shape.
        """
        self._take(robot_position, robot_orientation, geom_position)
        self.run(_DEPTH_STAGES)
        return self.depth

    def render(
        self, robot_position: torch.Tensor, robot_orientation: torch.Tensor, geom_position: torch.Tensor
    ) -> Images:
        """Renders colour, depth and class of all cameras of all envs; arguments as for :meth:`render_depth`.

        The sensor's noise is different in every call; it depends on a world's seed and on the number of calls since its
        last :meth:`reset`.

        Returns:
            :attr:`images`, the same memory at every call.

        Raises:
            ValueError: If an argument has another shape, or the rig was made without a look.
        """
        if self.images is None:
            raise ValueError("Rig.look is None; give a LookCfg to render colour.")
        self._take(robot_position, robot_orientation, geom_position)
        self.run(_SHADOW_STAGES if self._shadows else _COLOR_STAGES)
        self._frame += 1
        return self.images

    def _take(self, *given: torch.Tensor) -> None:
        """Copies the arguments of a call to where the launches read them."""
        for (name, buffer), value in zip(self._inputs.items(), given, strict=True):
            if value.shape != buffer.shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; this rig needs {tuple(buffer.shape)}.")
            if value.device != buffer.device:
                raise ValueError(f"{name} is on {value.device}; this rig's scene is on {buffer.device}.")
            buffer.copy_(value)

    @property
    def thread_count(self) -> int:
        """CPU threads that render."""
        return self._threads.count

    def run(self, stages: Sequence[str]) -> None:
        """Runs stages of the last call once more, in order within each chunk: for tests and benchmarks."""
        self._threads.run([partial(_launch, chunk, stages) for chunk in self._chunks])

    def _record(self, first_env: int, env_count: int, on_cpu: bool) -> dict[str, wp.Launch]:
        """Records the launches of all stages for a range of envs."""
        cfg, scene, tables = self.cfg, self._scene, self._tables
        cameras, geoms, tiles, samples = len(cfg.cameras), scene.geom_count, tables.tile_count, cfg.samples
        first_view, view_count, pixels = first_env * cameras, env_count * cameras, tiles * TILE * TILE
        patches, pixel_share = len(tables.patch_blocks), pixels if on_cpu else 1
        per_pixel = (view_count, -(-pixels // pixel_share))

        def flat(tensor: torch.Tensor, name: str = "") -> wp.array:
            if not tensor.is_contiguous():
                raise ValueError(f"SceneBatch.{name} is not contiguous; the rig reads it in place.")
            return wp.from_torch(tensor.view(-1))

        def record(kernel: wp.Kernel, dim: tuple[int, ...], inputs: list, outputs: list) -> wp.Launch:
            return wp.launch(kernel, dim, inputs, outputs, device=depth.device, record_cmd=True)

        tables_of = lambda *names: [constants[name] for name in names]  # noqa: E731
        constants = {name: flat(table) for name, table in self._constants.items()}
        robot_position, robot_orientation, geom_position = (flat(t) for t in self._inputs.values())
        watched = flat(self._watched)
        whose = [first_view, cameras, watched]
        views, records, masks, depth = (flat(t) for t in (self._views, self._records, self.masks, self.depth))
        lens, mounts, kind = flat(self._lens), flat(self._mounts), flat(scene.kind, "kind")
        orientation, size = flat(scene.orientation, "orientation"), flat(scene.size, "size")
        index = flat(self.geom) if self.geom is not None else wp.zeros(1, dtype=int, device=depth.device)
        stages = {
            "place": record(
                kernels.place_views,
                (view_count,),
                [*whose, geoms, cfg.max_range, lens, mounts, *tables_of("view_planes", "half_pitch")]
                + [robot_position, robot_orientation, kind, geom_position, orientation, size],
                [views, records],
            ),
            "mask": record(
                kernels.mask_patches,
                (view_count, patches),
                [*whose, geoms, patches, tiles // BLOCK, lens]
                + [*tables_of("patch_fences", "block_fences", "patch_blocks"), views, records],
                [masks],
            ),
            "trace": record(
                kernels.trace_pixels,
                per_pixel,
                [*whose, pixel_share, geoms, tiles, samples, cfg.width, cfg.height, cfg.max_range, cfg.ground]
                + [self.geom is not None, lens, *tables_of("rays", "corners"), views, records, masks],
                [depth, index],
            ),
        }
        if self.images is not None:
            look, paint, frame = flat(self._look.worlds), flat(self._look.paints), flat(self._frame)
            casters, suns = flat(self._casters), flat(self._suns)
            stages["light"] = record(
                kernels.light_worlds,
                (env_count,),
                [first_env, watched, geoms, look, kind, geom_position, orientation, size],
                [casters, suns],
            )
            stages["shade"] = record(
                kernels.shade_pixels,
                per_pixel,
                [*whose, pixel_share, geoms, tiles, samples, cfg.width, cfg.height, cfg.max_range, cfg.ground]
                + [self._shadows, lens, *tables_of("rays", "corners"), look, paint, frame, casters, suns]
                + [views, records, masks],
                [flat(self.images.rgb), depth, flat(self.images.label)],
            )
        return stages


def _launch(chunk: dict[str, wp.Launch], stages: Sequence[str]) -> None:
    for stage in stages:
        chunk[stage].launch()
