"""How near the robot is to the nearest primitive of its world: one GJK for all kinds in any orientation.

The distance of two convex bodies is that of the origin to their Minkowski difference, which GJK (Gilbert, Johnson,
Keerthi 1988) finds from support points alone. All kinds share one support function, that of a :class:`_Core` rounded
by a margin: spheres and capsules are a point and a segment with their radius as margin, so GJK only ever sees the
corners of boxes and the rims of cylinders and cones.
"""

from __future__ import annotations

import torch
import warp as wp

from ..robot import ROBOT, RobotCfg
from .batch import Kind, SceneBatch

TOLERANCE = 1.0e-4
"""Duality gap at which a distance is good enough, and distance below which bodies touch [m]."""

_TOLERANCE = wp.constant(TOLERANCE)
_MAX_ITERATIONS = wp.constant(32)
_FAR = wp.constant(1.0e18)

_NONE = wp.constant(int(Kind.NONE))
_BOX = wp.constant(int(Kind.BOX))
_CONE = wp.constant(int(Kind.CONE))
_SPHERE = wp.constant(int(Kind.SPHERE))
_CAPSULE = wp.constant(int(Kind.CAPSULE))


@wp.struct
class _Core:
    """A box or an upright frustum round the local origin, rounded by a margin [m]."""

    half: wp.vec3
    """Half extents; those in x and y are 0 for a frustum."""
    bottom: float
    """Radius at -half.z."""
    top: float
    """Radius at +half.z."""
    margin: float


@wp.func
def _core(kind: int, size: wp.vec3):
    core = _Core()
    if kind == _BOX:
        core.half = size
    elif kind == _SPHERE:
        core.margin = size[0]
    elif kind == _CAPSULE:
        core.half = wp.vec3(0.0, 0.0, wp.max(size[2] - size[0], 0.0))
        core.margin = size[0]
    else:
        core.half = wp.vec3(0.0, 0.0, size[2])
        core.bottom = size[0]
        core.top = wp.where(kind == _CONE, 0.0, size[0])
    return core


@wp.func
def _clamp(x: wp.vec3, half: wp.vec3):
    return wp.max(wp.min(x, half), -half)


@wp.func
def _corner(d: wp.vec3, half: wp.vec3):
    """Returns the corner of a box that is furthest along ``d``."""
    return wp.vec3(
        wp.where(d[0] < 0.0, -half[0], half[0]),
        wp.where(d[1] < 0.0, -half[1], half[1]),
        wp.where(d[2] < 0.0, -half[2], half[2]),
    )


@wp.func
def _support(core: _Core, d: wp.vec3):
    """Returns the point of the core that is furthest along ``d``."""
    point = _corner(d, core.half)
    if core.bottom > 0.0:
        across = wp.sqrt(d[0] * d[0] + d[1] * d[1])
        top = core.half[2] * d[2] + core.top * across
        bottom = core.bottom * across - core.half[2] * d[2]
        radius = wp.where(top > bottom, core.top, core.bottom)
        if across > 0.0:
            radius = radius / across
        point = wp.vec3(radius * d[0], radius * d[1], wp.where(top > bottom, core.half[2], -core.half[2]))
    return point


@wp.func
def _edge(w: wp.vec3, a: wp.vec3):
    """Returns how far along the segment from ``w`` to ``a`` its nearest point to the origin is, in [0, 1]."""
    e = a - w
    ee = wp.dot(e, e)
    t = float(0.0)
    if ee > 0.0:
        t = wp.clamp(-wp.dot(w, e) / ee, 0.0, 1.0)
    return t


@wp.func
def _face(w: wp.vec3, a: wp.vec3, b: wp.vec3):
    """Returns the origin's projection on the triangle's plane and whether it is strictly inside the triangle."""
    e = a - w
    f = b - w
    n = wp.cross(e, f)
    nn = wp.dot(n, n)
    v = w
    inside = bool(False)
    if nn > 0.0:
        s = wp.dot(wp.cross(f, w), n) / nn
        t = wp.dot(wp.cross(w, e), n) / nn
        inside = s > 0.0 and t > 0.0 and s + t < 1.0
        v = w + s * e + t * f
    return v, inside


@wp.func
def _body(w: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3):
    """Returns whether the tetrahedron holds the origin, to the tolerance; false if it is flat."""
    e = a - w
    f = b - w
    g = c - w
    n = wp.cross(f, g)
    det = wp.dot(e, n)
    inside = bool(False)
    if det != 0.0:
        r = -wp.dot(w, n) / det
        s = -wp.dot(w, wp.cross(g, e)) / det
        t = -wp.dot(w, wp.cross(e, f)) / det
        if r >= 0.0 and s >= 0.0 and t >= 0.0 and r + s + t <= 1.0:
            inside = wp.length(w + r * e + s * f + t * g) < _TOLERANCE
    return inside


@wp.func
def _nearest(w: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3, count: int):
    """Finds the point of a simplex nearest to the origin among the features that hold its newest vertex ``w``.

    Each candidate is a convex combination of vertices, and the shortest wins: rounding can make the result a little
    too long on slivers, but never a point outside the simplex, so it is an upper bound of the distance whatever
    happens.

    Returns:
        The point, the up to three vertices that span its feature, and their count.
    """
    v = w
    ra = w
    rb = w
    rc = w
    rank = int(1)
    best = wp.length_sq(w)
    for i in range(3):
        if i < count:
            p = wp.where(i == 0, a, wp.where(i == 1, b, c))
            t = _edge(w, p)
            u = w + t * (p - w)
            if wp.length_sq(u) < best:
                best = wp.length_sq(u)
                v = u
                rb = p
                rank = 2
    for i in range(3):
        if (i == 0 and count > 1) or count > 2:
            p = wp.where(i == 2, b, a)
            q = wp.where(i == 0, b, c)
            u, inside = _face(w, p, q)
            if inside and wp.length_sq(u) < best:
                best = wp.length_sq(u)
                v = u
                rb = p
                rc = q
                rank = 3
    if count > 2:
        if _body(w, a, b, c):
            v = wp.vec3(0.0, 0.0, 0.0)
    return v, ra, rb, rc, rank


@wp.func
def _gjk(
    core: _Core,
    rotation: wp.mat33,
    center: wp.vec3,
    sweep: wp.vec3,
    robot: wp.vec3,
    start: wp.vec3,
    limit: float,
):
    """Distance [m] of a rounded core, swept along ``sweep``, to a box of half extents ``robot`` round the origin.

    ``start`` is any guess of the vector from the robot to the core. Returns ``limit`` as soon as the distance is
    known to be no less.
    """
    to_local = wp.transpose(rotation)
    v = start
    norm = wp.length(v)
    if norm < _TOLERANCE:
        v = wp.vec3(1.0, 0.0, 0.0)
        norm = float(1.0)
    a = wp.vec3()
    b = wp.vec3()
    c = wp.vec3()
    count = int(0)
    upper = float(_FAR)
    for _ in range(_MAX_ITERATIONS):
        w = center + rotation * _support(core, to_local * -v) + _corner(-v, robot)
        if wp.dot(sweep, v) < 0.0:
            w += sweep
        lower = wp.dot(v, w) / norm
        if lower - core.margin >= limit:
            return limit
        if upper - lower < _TOLERANCE:
            break
        v, a, b, c, count = _nearest(w, a, b, c, count)
        norm = wp.length(v)
        if norm - core.margin < _TOLERANCE:
            return float(0.0)
        if norm >= upper:
            break
        upper = norm
    return wp.min(upper - core.margin, limit)


@wp.func
def _bound(core: _Core, orientation: wp.quat, center: wp.vec3, reach: float):
    """Lower bound of the distance: from the robot's centre to the primitive's bounding box, less ``reach``."""
    x = wp.quat_rotate_inv(orientation, center)
    radius = wp.max(core.bottom, core.top)
    return wp.length(x - _clamp(x, core.half + wp.vec3(radius, radius, 0.0))) - core.margin - reach
