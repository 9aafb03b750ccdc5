"""RigSensor: the rig beside Isaac Lab's Camera, for any scene made of boxes, cylinders, cones, spheres and capsules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import warp as wp
from isaaclab.cloner.cloner_cfg import expand_env_regex_ns
from isaaclab.sensors import CameraData, SensorBase
from isaaclab.sim.views import FrameView
from isaaclab.utils.math import quat_apply, quat_from_matrix, quat_mul
from isaaclab.utils.warp import ProxyArray

from mmnav.rig import LABELS, Rig
from mmnav.scenes import MAX_GEOMS, SceneBatch

from .shapes import Shape, find_shapes

if TYPE_CHECKING:
    from .rig_sensor_cfg import RigSensorCfg


class RigData(CameraData):
    """Isaac Lab's camera data: its views are the cameras of env 0, then those of env 1, and so on.

    ``output`` holds ``rgb`` [E C, H, W, 3] uint8, ``distance_to_camera`` [E C, H, W, 1] (m) and
    ``semantic_segmentation`` [E C, H, W, 1] uint8, whose names are in ``info``; all are views into the rig's memory.
    """

    def __init__(self, rig: Rig, device: str):
        """Makes room for the poses, and wraps the images of a rig."""
        super().__init__()
        images, (env_count, camera_count, height, width) = rig.images, rig.depth.shape
        self.create_buffers(env_count * camera_count, device)
        self.image_shape = (height, width)
        pixels = {
            "rgb": images.rgb.flatten(0, 1).permute(0, 2, 3, 1),
            "distance_to_camera": images.depth.flatten(0, 1)[..., None],
            "semantic_segmentation": images.label.flatten(0, 1)[..., None],
        }
        self._output = {name: ProxyArray(wp.from_torch(value)) for name, value in pixels.items()}
        self.info = dict.fromkeys(pixels)
        self.info["semantic_segmentation"] = {"idToLabels": {str(i): {"class": name} for i, name in enumerate(LABELS)}}


class RigSensor(SensorBase):
    """Renders a rig in every env of a scene that knows nothing of mmnav.

    The shapes are read from the stage once, at the start; their poses whenever images are asked for. The ground is the
    plane z = 0. All envs are rendered together, whichever of them are due.
    """

    cfg: RigSensorCfg

    def __init__(self, cfg: RigSensorCfg):
        """Takes the settings; the stage is read when physics is ready."""
        super().__init__(cfg)
        self._data: RigData | None = None

    @property
    def data(self) -> RigData:
        """Images and poses, as of now."""
        self._update_outdated_buffers()
        return self._data

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of each view [px]."""
        return self._data.image_shape

    def reset(self, env_ids=None, env_mask=None) -> None:
        """Gives envs new looks and cameras."""
        super().reset(env_ids, env_mask)
        ids = torch.arange(self._num_envs, device=self._device)
        if env_mask is not None:
            ids = ids[wp.to_torch(env_mask)]
        elif env_ids is not None:
            ids = ids[env_ids]
        self._scene.seed[ids] += self._num_envs
        self._rig.reset(ids)

    def _initialize_impl(self) -> None:
        super()._initialize_impl()
        shapes = [shape for target in self.cfg.targets for shape in find_shapes(expand_env_regex_ns(target))]
        if len(shapes) > MAX_GEOMS:
            raise ValueError(f"RigSensorCfg.targets match {len(shapes)} shapes an env; at most {MAX_GEOMS} fit.")
        frames = list(dict.fromkeys(shape.frame for shape in shapes))
        self._base = self._view(self.cfg.prim_path, "prim_path")
        self._frames = [self._view(frame, "targets") for frame in frames]
        self._frame_of = torch.tensor([frames.index(shape.frame) for shape in shapes], device=self._device)
        tensor = lambda name: torch.tensor([getattr(s, name) for s in shapes], device=self._device)  # noqa: E731
        self._offset, self._turn = tensor("position"), tensor("orientation")
        self._anchor = self._poses([self._base])[0][:, 0].clone()
        self._anchor[:, 2] = 0.0
        self._scene = self._make_scene(shapes)
        self._rig = Rig(self.cfg.rig(), self._scene, look=self.cfg.look())
        self._data = RigData(self._rig, self._device)
        self._data.intrinsic_matrices.torch.copy_(self._rig.intrinsics.flatten(0, 1))

    def _view(self, path: str, field: str) -> FrameView:
        """The poses of a frame: one in every env, or one for all."""
        try:
            view = FrameView(path, device=self._device, validate_xform_ops=False, stage=self.stage)
        except ValueError as error:
            raise ValueError(f"RigSensorCfg.{field}: {error}") from None
        if view.count not in (1, self._num_envs):
            raise ValueError(f"RigSensorCfg.{field}: {path!r} is there {view.count} times in {self._num_envs} envs.")
        return view

    def _poses(self, views: list[FrameView]) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions [E, n, 3] [m] and quaternions [E, n, 4] of frames, in the world."""
        found = [[pose.torch.expand(self._num_envs, -1) for pose in view.get_world_poses()] for view in views]
        return torch.stack([position for position, _ in found], 1), torch.stack([turn for _, turn in found], 1)

    def _make_scene(self, shapes: list[Shape]) -> SceneBatch:
        """The shapes as primitives; where they are is told at every rendering."""
        envs, count, device = self._num_envs, len(shapes), self._device
        zeros = lambda *shape: torch.zeros(envs, *shape, device=device)  # noqa: E731

        def each(name: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            values = torch.tensor([getattr(shape, name) for shape in shapes], dtype=dtype, device=device)
            return values[None].repeat(envs, *[1] * values.dim())

        return SceneBatch(
            kind=each("kind", torch.int32),
            position=zeros(count, 3),
            orientation=each("orientation"),
            size=each("size"),
            waypoints=zeros(count, 1, 3),
            speed=zeros(count),
            color=each("color"),
            texture=zeros(count).int(),
            bounds=zeros(4),
            start=zeros(3),
            goal=zeros(2),
            seed=self.cfg.seed + torch.arange(envs, device=device),
            difficulty=zeros(),
        )

    def _update_buffers_impl(self, env_mask: wp.array) -> None:
        base_position, base_turn = (pose[:, 0] for pose in self._poses([self._base]))
        position, turn = (pose[:, self._frame_of] for pose in self._poses(self._frames))
        position = position + quat_apply(turn, self._offset.expand_as(position)) - self._anchor[:, None]
        self._scene.orientation.copy_(quat_mul(turn, self._turn.expand_as(turn)))
        self._rig.render(base_position - self._anchor, base_turn, position)
        offset, mounted = self._rig.mounts
        turns = base_turn[:, None].expand(*offset.shape[:2], 4)
        places = base_position[:, None] + quat_apply(turns, offset)
        self._data.pos_w.torch.copy_(places.flatten(0, 1))
        self._data.quat_w_world.torch.copy_(quat_mul(turns, quat_from_matrix(mounted)).flatten(0, 1))
