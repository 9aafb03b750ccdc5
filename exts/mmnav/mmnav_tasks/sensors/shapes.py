"""Shapes on a USD stage, as the rig's primitives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from isaaclab.sim.utils.queries import resolve_matching_prims_from_source
from isaaclab.sim.utils.transforms import resolve_prim_pose, resolve_prim_scale
from pxr import Gf, Usd, UsdGeom, UsdPhysics, UsdShade

from mmnav.scenes import Kind

GREY = (0.5, 0.5, 0.5)
"""Colour of a shape without a preview surface."""

_TO_Z = {
    "X": Gf.Quatd(math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0),
    "Y": Gf.Quatd(math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0),
}
"""Turns of the local z axis to a shape's own axis, the real part first."""


@dataclass(frozen=True)
class Shape:
    """A primitive on a frame that moves with a body, or stands still."""

    frame: str
    """Path expression of the frame, in all envs that have it."""
    kind: Kind
    size: tuple[float, float, float]
    """Half extents [m]."""
    position: tuple[float, float, float]
    """Centre in the frame [m]."""
    orientation: tuple[float, float, float, float]
    """Frame-from-shape quaternion (x, y, z, w)."""
    color: tuple[float, float, float]


def find_shapes(target: str) -> list[Shape]:
    """Finds all shapes at or below the prims of a path expression.

    Raises:
        ValueError: If there is none, or one that the rig cannot draw.
    """
    found = resolve_matching_prims_from_source(target, lambda prim: prim.IsA(UsdGeom.Gprim), raise_if_no_matches=False)
    if not found:
        raise ValueError(f"RigSensorCfg.targets: {target!r} matches no shape on the stage.")
    return [_shape(prim, path) for prim, path in found]


def _shape(prim: Usd.Prim, path: str) -> Shape:
    """Reads one shape; ``path`` is its expression in all envs."""
    kind, half, axis = _local_shape(prim)
    scale = np.abs(resolve_prim_scale(prim))
    own = scale[{"X": [2, 1, 0], "Y": [0, 2, 1], "Z": [0, 1, 2]}[axis]]
    same = {Kind.BOX: 1, Kind.SPHERE: 3, Kind.CAPSULE: 3}.get(kind, 2)  # directions that must keep their proportion
    if not np.allclose(own[:same], own[0]):
        raise ValueError(f"{prim.GetPath()}: the rig draws no {kind.name.lower()} that is scaled by {tuple(scale)}.")
    size = tuple(float(h * s) for h, s in zip(half, own, strict=True))
    # a body or a collider is no frame to Isaac Lab's views: take the one above
    physical = prim.HasAPI(UsdPhysics.CollisionAPI) or prim.HasAPI(UsdPhysics.RigidBodyAPI)
    frame = prim.GetParent() if physical else prim
    position, orientation = resolve_prim_pose(prim, frame) if physical else ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    if axis != "Z":
        x, y, z, w = orientation
        turned = Gf.Quatd(w, x, y, z) * _TO_Z[axis]
        orientation = (*turned.imaginary, turned.real)
    path = path.rsplit("/", 1)[0] if physical else path
    return Shape(path, kind, size, tuple(map(float, position)), tuple(map(float, orientation)), _color(prim))


def _local_shape(prim: Usd.Prim) -> tuple[Kind, tuple[float, float, float], str]:
    """Kind, half extents before scaling, and axis of a shape."""
    if prim.IsA(UsdGeom.Cube):
        half = UsdGeom.Cube(prim).GetSizeAttr().Get() / 2.0
        return Kind.BOX, (half, half, half), "Z"
    if prim.IsA(UsdGeom.Sphere):
        radius = UsdGeom.Sphere(prim).GetRadiusAttr().Get()
        return Kind.SPHERE, (radius, radius, radius), "Z"
    for schema, kind in ((UsdGeom.Cylinder, Kind.CYLINDER), (UsdGeom.Cone, Kind.CONE), (UsdGeom.Capsule, Kind.CAPSULE)):
        if prim.IsA(schema):
            shape = schema(prim)
            radius, half = shape.GetRadiusAttr().Get(), shape.GetHeightAttr().Get() / 2.0
            half += radius if kind == Kind.CAPSULE else 0.0  # USD counts a capsule's height without its caps
            return kind, (radius, radius, half), str(shape.GetAxisAttr().Get())
    raise ValueError(
        f"{prim.GetPath()} is a {prim.GetTypeName()}; the rig draws Cube, Cylinder, Cone, Sphere and Capsule."
    )


def _color(prim: Usd.Prim) -> tuple[float, float, float]:
    """Diffuse colour of a shape's preview surface, or grey."""
    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    if material:
        surface = material.ComputeSurfaceSource()[0]
        color = surface.GetInput("diffuseColor") if surface else None
        if color and color.Get() is not None:
            return tuple(map(float, color.Get()))
    return GREY
