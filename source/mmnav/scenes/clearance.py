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
    if kind == int(Kind.BOX):
        core.half = size
    elif kind == int(Kind.SPHERE):
        core.margin = size[0]
    elif kind == int(Kind.CAPSULE):
        core.half = wp.vec3(0.0, 0.0, wp.max(size[2] - size[0], 0.0))
        core.margin = size[0]
    else:
        core.half = wp.vec3(0.0, 0.0, size[2])
        core.bottom = size[0]
        core.top = wp.where(kind == int(Kind.CONE), 0.0, size[0])
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
    """Projects the origin on a triangle's plane.

    Returns:
        The projection, its direction from the origin, and whether it is strictly inside the triangle.
    """
    e = a - w
    f = b - w
    n = wp.cross(e, f)
    nn = wp.length_sq(n)
    v = w
    direction = w
    inside = bool(False)
    if nn > 0.0:
        s = wp.dot(wp.cross(f, w), n) / nn
        t = wp.dot(wp.cross(w, e), n) / nn
        inside = s > 0.0 and t > 0.0 and s + t < 1.0
        if inside:
            v = w + s * e + t * f
            # The vertices' rounding tilts v by its share of |v|, the normal by its share of the triangle's width.
            if nn > wp.length_sq(v) * wp.max(wp.length_sq(e), wp.length_sq(f)):
                direction = wp.sign(wp.dot(n, w)) * n
            else:
                direction = v
    return v, direction, inside


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
        The point's distance and direction from the origin, the up to two vertices that span its feature together with
        ``w``, and the count of all three.
    """
    shortest = wp.length_sq(w)
    direction = w
    rb = w
    rc = w
    rank = int(1)
    for i in range(3):
        if i < count:
            p = wp.where(i == 0, a, wp.where(i == 1, b, c))
            t = _edge(w, p)
            u = w + t * (p - w)
            if wp.length_sq(u) < shortest:
                shortest = wp.length_sq(u)
                direction = u
                rb = p
                rank = 2
    for i in range(3):
        if (i == 0 and count > 1) or count > 2:
            p = wp.where(i == 2, b, a)
            q = wp.where(i == 0, b, c)
            u, along, inside = _face(w, p, q)
            if inside and wp.length_sq(u) < shortest:
                shortest = wp.length_sq(u)
                direction = along
                rb = p
                rc = q
                rank = 3
    if count > 2:
        if _body(w, a, b, c):
            shortest = float(0.0)
    return wp.sqrt(shortest), direction, rb, rc, rank


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
    direction = wp.where(wp.length_sq(start) > 0.0, start, wp.vec3(1.0, 0.0, 0.0))
    a = wp.vec3()
    b = wp.vec3()
    c = wp.vec3()
    count = int(0)
    lower = float(0.0)
    upper = float(_FAR)
    for _ in range(_MAX_ITERATIONS):
        d = wp.normalize(direction)
        w = center + rotation * _support(core, to_local * -d) + _corner(-d, robot)
        if wp.dot(sweep, d) < 0.0:
            w += sweep
        lower = wp.max(lower, wp.dot(d, w))
        if lower - core.margin >= limit:
            return limit
        if upper - lower < _TOLERANCE:
            break
        norm, direction, b, c, count = _nearest(w, a, b, c, count)
        a = w
        if norm - core.margin < _TOLERANCE:
            return float(0.0)
        if norm >= upper:  # no progress: rounding allows no better
            break
        upper = norm
    return wp.min(upper - core.margin, limit)


@wp.func
def _bounding_half(core: _Core):
    """Returns the half extents of a core's bounding box."""
    radius = wp.max(core.bottom, core.top)
    return core.half + wp.vec3(radius, radius, 0.0)


@wp.func
def _clip(core: _Core, x: wp.vec3, reach: float):
    """Cuts off what is further than ``reach`` from ``x`` along the core's axes, as far as the rest is a core again.

    A wall of 12 m against a body of 0.7 m would cost float32 the digits that tell their faces apart.

    Returns:
        The shorter core and its centre.
    """
    low = _clamp(x - wp.vec3(reach, reach, reach), core.half)
    high = _clamp(x + wp.vec3(reach, reach, reach), core.half)
    clipped = _Core()
    clipped.margin = core.margin
    clipped.bottom = core.bottom
    clipped.top = core.top
    if core.half[2] > 0.0:
        slope = 0.5 * (core.top - core.bottom) / core.half[2]
        clipped.bottom = core.bottom + slope * (low[2] + core.half[2])
        clipped.top = core.top - slope * (core.half[2] - high[2])
    clipped.half = 0.5 * (high - low)
    return clipped, 0.5 * (high + low)


@wp.func
def _lower_bound(core: _Core, orientation: wp.quat, offset: wp.vec3, sweep: wp.vec3, robot_radius: float):
    """Lower bound of the distance [m]: robot's centre to the bounding box at mid-sweep, less the rest."""
    x = wp.quat_rotate_inv(orientation, -(offset + 0.5 * sweep))
    box = wp.length(x - _clamp(x, _bounding_half(core)))
    return box - core.margin - 0.5 * wp.length(sweep) - robot_radius


@wp.func
def _distance(
    core: _Core,
    orientation: wp.quat,
    offset: wp.vec3,
    sweep: wp.vec3,
    to_robot: wp.quat,
    robot: wp.vec3,
    limit: float,
):
    """Distance [m] of a swept primitive to the robot, or ``limit`` if that is less; see :func:`_gjk`."""
    rotation = wp.quat_to_matrix(to_robot * orientation)
    reach = limit + wp.length(robot) + wp.length(sweep) + core.margin
    clipped, shift = _clip(core, wp.quat_rotate_inv(orientation, -offset), reach)
    center = wp.quat_rotate(to_robot, offset) + rotation * shift
    nearest = center + rotation * _clamp(wp.transpose(rotation) * -center, _bounding_half(clipped))
    start = nearest - _clamp(nearest, robot)
    return _gjk(clipped, rotation, center, wp.quat_rotate(to_robot, sweep), robot, start, limit)


@wp.kernel(enable_backward=False)
def _clearance(
    kind: wp.array2d(dtype=int),
    orientation: wp.array2d(dtype=wp.quat),
    size: wp.array2d(dtype=wp.vec3),
    geom_position: wp.array2d(dtype=wp.vec3),
    geom_displacement: wp.array2d(dtype=wp.vec3),
    robot_position: wp.array(dtype=wp.vec3),
    robot_orientation: wp.array(dtype=wp.quat),
    robot_displacement: wp.array(dtype=wp.vec3),
    robot_half: wp.vec3,
    max_distance: float,
    distance_out: wp.array(dtype=float),
    geom_out: wp.array(dtype=int),
):
    env = wp.tid()
    distance_out[env] = 0.0
    geom_out[env] = -1
    position = robot_position[env]
    own = wp.vec3()
    if robot_displacement:
        own = robot_displacement[env]
    if not (wp.isfinite(position) and wp.isfinite(robot_orientation[env]) and wp.isfinite(own)):
        return
    to_robot = wp.quat_inverse(wp.normalize(robot_orientation[env]))
    robot_radius = wp.length(robot_half)
    best = float(max_distance)
    for geom in range(kind.shape[1]):
        if kind[env, geom] != int(Kind.NONE):
            core = _core(kind[env, geom], size[env, geom])
            offset = geom_position[env, geom] - position
            sweep = own
            if geom_displacement:
                sweep -= geom_displacement[env, geom]
            bound = _lower_bound(core, orientation[env, geom], offset, sweep, robot_radius)
            if not wp.isfinite(bound):
                geom_out[env] = geom
                return
            if bound < best:
                distance = _distance(core, orientation[env, geom], offset, sweep, to_robot, robot_half, best)
                if distance < best:
                    best = distance
                    geom_out[env] = geom
                if best == 0.0:
                    return
    distance_out[env] = best


class Clearance:
    """The distance of E robots to the nearest primitives of their worlds, swept over a control step if asked.

    Distances are exact to :data:`TOLERANCE` plus rounding, well below 1 mm; bodies nearer than the tolerance touch and
    are at exactly 0.
    """

    def __init__(self, scene: SceneBatch, robot: RobotCfg = ROBOT, max_distance: float = 2.0):
        """Takes views of the worlds, which stay valid under :meth:`SceneBatch.assign`.

        Args:
            scene: E worlds of K primitives. Its positions are not read; see :meth:`update`.
            robot: The cuboid robot.
            max_distance: Range within which primitives are looked for [m]; a shorter one is cheaper.
        """
        wp.init()
        self.distance = torch.zeros(scene.env_count, dtype=torch.float32, device=scene.device)
        """Distance to the nearest primitive [m], at most ``max_distance``, shape [E]."""
        self.geom = torch.full((scene.env_count,), -1, dtype=torch.int32, device=scene.device)
        """Index of the nearest primitive, -1 if none is nearer than ``max_distance``, shape [E], int32."""
        self._shape = (scene.env_count, scene.geom_count, 3)
        self._device = str(scene.device)
        self._scene = [
            wp.from_torch(scene.kind),
            wp.from_torch(scene.orientation, dtype=wp.quat),
            wp.from_torch(scene.size, dtype=wp.vec3),
        ]
        self._limits = [wp.vec3(*robot.half_extents), float(max_distance)]
        self._outputs = [wp.from_torch(self.distance), wp.from_torch(self.geom)]

    def update(
        self,
        robot_position: torch.Tensor,
        robot_orientation: torch.Tensor,
        geom_position: torch.Tensor,
        geom_displacement: torch.Tensor | None = None,
        robot_displacement: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Measures all worlds; overwrites and returns :attr:`distance` and :attr:`geom`.

        With displacements the distance is the least over the step, for straight and steady translation: the nearest
        point of the Minkowski sum of each primitive with the segment of its way relative to the robot. Static
        primitives sweep too if the robot moves. Rotation is not swept: the robot has its final orientation throughout.

        A robot whose position, orientation or displacement is not finite is at distance 0 with ``geom`` -1, so that
        its episode ends as in a collision; a primitive of which one of these is not finite is touched. Distances are
        never NaN, and other worlds are unaffected.

        Args:
            robot_position: Centres of the robots at the end of the step [m], shape [E, 3].
            robot_orientation: World-from-robot quaternions (x, y, z, w), shape [E, 4].
            geom_position: Centres of the primitives at the end of the step [m], shape [E, K, 3].
            geom_displacement: Their positions at the end less at the start of the step [m], shape [E, K, 3]; None if
                all rest.
            robot_displacement: The same of the robots [m], shape [E, 3]; None if all rest. Zero it where a robot was
                put elsewhere, or the way there is swept as well.

        Raises:
            ValueError: If a shape does not fit the worlds.
        """
        geoms, robots = self._shape, self._shape[::2]
        arguments = [
            self._view("geom_position", geom_position, geoms, wp.vec3),
            self._view("geom_displacement", geom_displacement, geoms, wp.vec3),
            self._view("robot_position", robot_position, robots, wp.vec3),
            self._view("robot_orientation", robot_orientation, (robots[0], 4), wp.quat),
            self._view("robot_displacement", robot_displacement, robots, wp.vec3),
        ]
        wp.launch(
            _clearance,
            dim=self._shape[0],
            inputs=[*self._scene, *arguments, *self._limits],
            outputs=self._outputs,
            device=self._device,
        )
        return self.distance, self.geom

    @staticmethod
    def _view(name: str, tensor: torch.Tensor | None, shape: tuple[int, ...], dtype: type):
        """Returns a Warp view of an argument of :meth:`update`, or None for None."""
        if tensor is None:
            return None
        if tensor.shape != shape:
            raise ValueError(f"Clearance.update: {name} has shape {list(tensor.shape)}; the worlds need {list(shape)}.")
        return wp.from_torch(tensor, dtype=dtype, return_ctype=True)
