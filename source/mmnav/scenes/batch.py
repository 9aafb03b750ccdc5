"""SceneBatch: the one description of many worlds, from which pixels, depth, clearance, paths and bodies derive."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import torch

MAX_GEOMS = 64
"""Most primitives a world may hold: a candidate mask of the rig is one 64-bit word."""


class Kind(IntEnum):
    """Primitive kinds. Every kind is described by the half extents of its local bounding box, centred on its pose."""

    NONE = 0
    """An unused slot."""
    BOX = 1
    CYLINDER = 2
    """Axis along local z; size is (radius, radius, half height)."""
    CONE = 3
    """Apex at local +z, base at -z; size is (base radius, base radius, half height)."""
    SPHERE = 4
    """Size is (radius, radius, radius)."""
    CAPSULE = 5
    """Axis along local z; size is (radius, radius, half height with caps)."""


@dataclass
class SceneBatch:
    """E worlds of at most K primitives each, as arrays on one device, in each world's own frame (ground at z = 0).

    A mover (``speed > 0``) runs round the closed polygon of its waypoints at constant speed, from ``waypoints[0]`` at
    time zero, and keeps its orientation; see :func:`mmnav.scenes.motion.advance`.
    """

    kind: torch.Tensor
    """Primitive :class:`Kind`, shape [E, K], int32."""
    position: torch.Tensor
    """Centres at time zero [m], shape [E, K, 3]."""
    orientation: torch.Tensor
    """World-from-local unit quaternions (x, y, z, w), shape [E, K, 4]."""
    size: torch.Tensor
    """Half extents of the local bounding boxes [m], shape [E, K, 3]."""
    waypoints: torch.Tensor
    """Corners of each mover's closed way [m], shape [E, K, W, 3]; ``position`` repeated for static primitives."""
    speed: torch.Tensor
    """Speed along the way [m/s], shape [E, K]; 0 for static primitives."""
    color: torch.Tensor
    """Base colours, linear RGB in [0, 1], shape [E, K, 3]."""
    texture: torch.Tensor
    """Texture family, shape [E, K], int32; 0 is plain."""
    bounds: torch.Tensor
    """Arena as (x_min, y_min, x_max, y_max) [m], shape [E, 4]."""
    start: torch.Tensor
    """Start pose (x, y, yaw) [m, m, rad], shape [E, 3]."""
    goal: torch.Tensor
    """Goal position [m], shape [E, 2]."""
    seed: torch.Tensor
    """Seed of each layout, shape [E], int64."""
    difficulty: torch.Tensor
    """Difficulty in [0, 1], shape [E]."""

    def __post_init__(self) -> None:
        """Checks shapes, device and values.

        Raises:
            ValueError: If a field's leading shape, device or values do not fit; the message names the field.
        """
        env_count, geom_count = self.kind.shape
        if geom_count > MAX_GEOMS:
            raise ValueError(f"SceneBatch.kind has {geom_count} primitives a world; at most {MAX_GEOMS} fit.")
        for field in fields(self):
            value = getattr(self, field.name)
            if value.device != self.kind.device:
                raise ValueError(f"SceneBatch.{field.name} is on {value.device}, kind on {self.kind.device}.")
            if value.shape[0] != env_count:
                raise ValueError(f"SceneBatch.{field.name} holds {value.shape[0]} worlds, kind {env_count}.")

    def check_finite(self) -> None:
        """Raises ValueError with the name of the first field that holds a NaN or an infinity."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value.is_floating_point() and not bool(value.isfinite().all()):
                env = int((~value.isfinite()).flatten(1).any(1).nonzero()[0])
                raise ValueError(f"SceneBatch.{field.name} is not finite in world {env}.")

    @property
    def env_count(self) -> int:
        """Number of worlds E."""
        return self.kind.shape[0]

    @property
    def geom_count(self) -> int:
        """Number of primitive slots K of every world."""
        return self.kind.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of all arrays."""
        return self.kind.device

    def start_poses(self, height: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Where robots stand at their starts, with their centres at the given height [m].

        Returns:
            Positions [m], shape [E, 3], and world-from-base quaternions (x, y, z, w), shape [E, 4].
        """
        half, zero = self.start[:, 2] / 2, torch.zeros_like(self.start[:, 2])
        position = torch.stack([self.start[:, 0], self.start[:, 1], zero + height], -1)
        return position, torch.stack([zero, zero, half.sin(), half.cos()], -1)

    def __getitem__(self, env_ids) -> SceneBatch:
        """Returns the worlds of an index array, a mask or a slice, as a new batch."""
        return SceneBatch(**{f.name: getattr(self, f.name)[env_ids] for f in fields(self)})

    def padded(self, geom_count: int) -> SceneBatch:
        """Returns the batch with unused slots up to ``geom_count`` primitives a world."""
        more = geom_count - self.geom_count
        if more <= 0:
            return self
        padded = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("kind", "position", "orientation", "size", "waypoints", "speed", "color", "texture"):
            slots = padded[name]
            padded[name] = torch.cat([slots, slots.new_zeros(self.env_count, more, *slots.shape[2:])], 1)
        padded["orientation"][:, -more:, 3] = 1.0
        return SceneBatch(**padded)

    def assign(self, env_ids: torch.Tensor, scenes: SceneBatch) -> None:
        """Overwrites the worlds ``env_ids`` in place, so that views into this batch (Warp arrays) stay valid.

        Args:
            env_ids: Worlds to overwrite, shape [N].
            scenes: The N new worlds, with as many primitive slots as this batch.
        """
        for f in fields(self):
            getattr(self, f.name)[env_ids] = getattr(scenes, f.name)

    def to(self, device: torch.device | str) -> SceneBatch:
        """Returns the batch on another device."""
        return SceneBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def clone(self) -> SceneBatch:
        """Returns a copy that shares no memory with this batch."""
        return SceneBatch(**{f.name: getattr(self, f.name).clone() for f in fields(self)})

    @staticmethod
    def cat(batches: list[SceneBatch]) -> SceneBatch:
        """Joins batches of equal slot counts."""
        return SceneBatch(**{f.name: torch.cat([getattr(b, f.name) for b in batches]) for f in fields(SceneBatch)})
