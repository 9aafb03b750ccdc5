"""Where a robot's centre may not be: the static primitives of a scene grown by a footprint, on a grid of cells.

A primitive blocks through its shadow, the projection to the ground of its part within the robot's height band. The
shadow is convex, so it is held as half planes ``u . p < h(u)``, and grown by a footprint with support function f it
becomes ``u . p < h(u) + f(u)``. With u running over the normals of the footprint's and the shadow's straight edges the
test is the exact separating-axis test for boxes of any orientation; round outlines are enclosed by 32-gons (at most
0.5 % of their radius too large).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp

from ..robot import ROBOT
from .batch import Kind, SceneBatch

NORMAL_COUNT = 44
"""Half planes of a shadow: 32 directions round the circle, then the 12 edge normals of the primitive's own axes."""

BODY_BAND = (ROBOT.center_height - ROBOT.half_extents[2], ROBOT.center_height + ROBOT.half_extents[2])
"""Heights between which the robot can touch something [m]."""

NORTH = wp.constant(8)
"""Index of the half plane with normal +y, in kernels."""

SOUTH = wp.constant(24)
"""Index of the half plane with normal -y, in kernels."""

_UNIFORM_COUNT = wp.constant(32)
_BISECTIONS = wp.constant(20)
_LEVEL = wp.constant(1.0e-4)  # slope below which a direction counts as horizontal [rad]
_STEEPEST = wp.constant(1.56)  # largest slope of a direction [rad]
_TOUCH = wp.constant(1.0e-5)  # penetration that still counts as free, against ties with cells [m]
_EMPTY = wp.constant(-1.0e6)  # support of a shadow that does not exist [m]

_BOX = wp.constant(int(Kind.BOX))
_CYLINDER = wp.constant(int(Kind.CYLINDER))
_CONE = wp.constant(int(Kind.CONE))
_SPHERE = wp.constant(int(Kind.SPHERE))
_NONE = wp.constant(int(Kind.NONE))


@dataclass(frozen=True)
class Footprint:
    """A rectangle at yaw 0 grown by a disc: a robot of fixed heading, or a disc where the rectangle is a point."""

    half_length: float
    """Half extent along x [m]."""
    half_width: float
    """Half extent along y [m]."""
    radius: float
    """Radius of the disc by which the rectangle is grown (a margin, or a disc's own radius) [m]."""

    @staticmethod
    def rectangle(margin: float = 0.0, extra_length: float = 0.0) -> Footprint:
        """Returns the robot at yaw 0 with a margin around it and extra room ahead and behind [m]."""
        return Footprint(ROBOT.half_extents[0] + extra_length, ROBOT.half_extents[1], margin)

    @staticmethod
    def disc(radius: float) -> Footprint:
        """Returns a disc [m]."""
        return Footprint(0.0, 0.0, radius)

    @property
    def extents(self) -> tuple[float, float, float]:
        """Half length, half width and radius [m], as kernels take them."""
        return self.half_length, self.half_width, self.radius


@dataclass(frozen=True)
class Grid:
    """A grid of points per world; every world's start lies exactly on one of them."""

    origin: torch.Tensor
    """World coordinates of cell [0, 0] [m], shape [E, 2]."""
    start: torch.Tensor
    """Row and column of the start, shape [E, 2], int64."""
    cell: tuple[float, float]
    """Spacing along x and y [m]."""
    shape: tuple[int, int]
    """Rows (along y) and columns (along x), enough for the largest arena of the batch."""

    @staticmethod
    def over(scene: SceneBatch, cell: tuple[float, float]) -> Grid:
        """Returns the grid of given spacing [m] over the arenas of a batch."""
        low, high, start = scene.bounds[:, :2], scene.bounds[:, 2:], scene.start[:, :2]
        spacing = torch.tensor(cell, device=scene.device)
        steps = torch.floor((start - low) / spacing)
        origin = start - steps * spacing
        columns, rows = (torch.floor((high - origin) / spacing).amax(0).long() + 1).tolist()
        return Grid(origin, steps.long().flip(1), cell, (rows, columns))

    def __getitem__(self, envs: slice) -> Grid:
        """Returns the grid over some of the worlds, of the same shape."""
        return Grid(self.origin[envs], self.start[envs], self.cell, self.shape)

    def points(self) -> torch.Tensor:
        """Returns the world coordinates of all cells [m], shape [E, H, W, 2]."""
        rows, columns = (torch.arange(n, device=self.origin.device) for n in self.shape)
        y, x = torch.meshgrid(rows * self.cell[1], columns * self.cell[0], indexing="ij")
        return self.origin[:, None, None] + torch.stack((x, y), -1)


@wp.func
def _sign(x: float):
    return wp.where(x < 0.0, -1.0, 1.0)


@wp.func
def _support(kind: int, size: wp.vec3, d: wp.vec3):
    """Point of a primitive farthest along d, both in its local frame."""
    if kind == _BOX:
        return wp.vec3(_sign(d[0]) * size[0], _sign(d[1]) * size[1], _sign(d[2]) * size[2])
    if kind == _SPHERE:
        return wp.normalize(d) * size[0]
    if kind == _CYLINDER or kind == _CONE:
        rim = wp.normalize(wp.vec3(d[0], d[1], 0.0)) * size[0]
        if kind == _CYLINDER:
            return rim + wp.vec3(0.0, 0.0, _sign(d[2]) * size[2])
        apex = wp.vec3(0.0, 0.0, size[2])
        return wp.where(wp.dot(d, rim - apex) > wp.dot(d, apex), rim - apex, apex)
    return wp.normalize(d) * size[0] + wp.vec3(0.0, 0.0, _sign(d[2]) * (size[2] - size[0]))


@wp.func
def _support_height(kind: int, size: wp.vec3, q: wp.quat, u: wp.vec2, slope: float):
    """Farthest reach along a direction of heading u and given slope, and the height of the point that has it."""
    d = wp.vec3(u[0] * wp.cos(slope), u[1] * wp.cos(slope), wp.sin(slope))
    point = wp.quat_rotate(q, _support(kind, size, wp.quat_rotate_inv(q, d)))
    return wp.vec2(wp.dot(d, point), point[2])


@wp.func
def _bound(kind: int, size: wp.vec3, q: wp.quat, u: wp.vec2, slope: float, height: float):
    """Lagrangian bound of the reach along u of the part below (slope < 0) or above (slope > 0) a height."""
    return _support_height(kind, size, q, u, slope)[0] / wp.cos(slope) - wp.tan(slope) * height


@wp.func
def _clipped_support(kind: int, size: wp.vec3, q: wp.quat, u: wp.vec2, low: float, high: float):
    """Reach along the horizontal u of a primitive's part within a band of heights (all relative to its centre).

    By duality it is the least Lagrangian bound over all slopes. The height of the support point grows with the slope,
    so bisection finds the best one, and every slope tried bounds the reach from above: the result errs outwards only.
    """
    above = _support_height(kind, size, q, u, -_LEVEL)[1] > high
    below = _support_height(kind, size, q, u, _LEVEL)[1] < low
    if not above and not below:
        return _support_height(kind, size, q, u, 0.0)[0]
    height = wp.where(above, high, low)
    a = wp.where(above, -_STEEPEST, 0.0)
    b = wp.where(above, 0.0, _STEEPEST)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (a + b)
        if _support_height(kind, size, q, u, middle)[1] > height:
            b = middle
        else:
            a = middle
    return wp.min(_bound(kind, size, q, u, a, height), _bound(kind, size, q, u, b, height))


@wp.func
def _normal(q: wp.quat, index: int):
    """Direction of one half plane: those round the circle, then the normals of what the local axes can draw."""
    if index < _UNIFORM_COUNT:
        angle = 2.0 * wp.pi * float(index) / float(_UNIFORM_COUNT)
        return wp.vec2(wp.cos(angle), wp.sin(angle))
    own = index - _UNIFORM_COUNT
    local = wp.vec3(0.0, 0.0, 0.0)
    local[own // 4] = 1.0
    axis = wp.quat_rotate(q, local)
    u = wp.vec2(axis[0], axis[1])
    if wp.length(u) < 1.0e-4:
        return wp.vec2(1.0, 0.0)
    u = wp.normalize(u)
    # An edge along the axis is drawn with a normal across it; a face cut level, with a normal along its own.
    if own % 4 >= 2:
        u = wp.vec2(-u[1], u[0])
    return wp.where(own % 2 == 0, u, -u)


@wp.kernel(enable_backward=False)
def _shadows(
    kind: wp.array2d(dtype=int),
    orientation: wp.array2d(dtype=wp.quat),
    size: wp.array2d(dtype=wp.vec3),
    waypoints: wp.array3d(dtype=wp.vec3),
    band: wp.vec2,
    shadow_out: wp.array3d(dtype=wp.vec3),
):
    env, geom, index = wp.tid()
    shape = kind[env, geom]
    q = orientation[env, geom]
    u = _normal(q, index)
    shadow_out[env, geom, index] = wp.vec3(u[0], u[1], _EMPTY)
    if shape == _NONE:
        return
    lowest = waypoints[env, geom, 0][2]
    highest = lowest
    for i in range(waypoints.shape[2]):
        lowest = wp.min(lowest, waypoints[env, geom, i][2])
        highest = wp.max(highest, waypoints[env, geom, i][2])
    low = band[0] - highest
    high = band[1] - lowest
    extent = size[env, geom]
    up = wp.quat_rotate_inv(q, wp.vec3(0.0, 0.0, 1.0))
    if wp.dot(up, _support(shape, extent, up)) <= low or wp.dot(up, _support(shape, extent, -up)) >= high:
        return
    shadow_out[env, geom, index] = wp.vec3(u[0], u[1], _clipped_support(shape, extent, q, u, low, high))


@wp.func
def grown(half_plane: wp.vec3, footprint: wp.vec3):
    """Support of a shadow grown by a footprint (half length, half width, radius), along one of its normals [m]."""
    return (
        half_plane[2]
        + footprint[0] * wp.abs(half_plane[0])
        + footprint[1] * wp.abs(half_plane[1])
        + footprint[2]
        - _TOUCH
    )


@wp.kernel(enable_backward=False)
def _occupy(
    shadow: wp.array3d(dtype=wp.vec3),
    waypoints: wp.array3d(dtype=wp.vec3),
    speed: wp.array2d(dtype=float),
    origin: wp.array(dtype=wp.vec2),
    cell: wp.vec2,
    footprint: wp.vec3,
    blocked_out: wp.array3d(dtype=wp.uint8),
):
    env, geom, row = wp.tid()
    if speed[env, geom] > 0.0:
        return
    center = waypoints[env, geom, 0]
    y = origin[env][1] + float(row) * cell[1] - center[1]
    if y >= grown(shadow[env, geom, NORTH], footprint) or -y >= grown(shadow[env, geom, SOUTH], footprint):
        return
    left = float(-1.0e6)
    right = float(1.0e6)
    for i in range(shadow.shape[2]):
        plane = shadow[env, geom, i]
        room = grown(plane, footprint) - plane[1] * y
        if wp.abs(plane[0]) < 1.0e-6:
            if room <= 0.0:
                return
        elif plane[0] > 0.0:
            right = wp.min(right, room / plane[0])
        else:
            left = wp.max(left, room / plane[0])
    offset = center[0] - origin[env][0]
    first = wp.max(int(wp.ceil((offset + left) / cell[0])), 0)
    last = wp.min(int(wp.floor((offset + right) / cell[0])), blocked_out.shape[2] - 1)
    for column in range(first, last + 1):
        blocked_out[env, row, column] = wp.uint8(1)


def shadows(scene: SceneBatch, band: tuple[float, float] = BODY_BAND) -> wp.array:
    """Returns the half planes that enclose what each primitive can block.

    Args:
        scene: E worlds of K primitives.
        band: Lowest and highest height at which the robot can touch something [m].

    Returns:
        Half planes (u_x, u_y, h) relative to the primitives' centres [-, -, m], shape [E, K, NORMAL_COUNT] of vec3:
        the shadow is where ``u . (p - center) < h`` holds for all. A primitive wholly above or below the band has
        h = -1e6. For a mover the band covers all heights of its way.
    """
    shadow = wp.empty((*scene.kind.shape, NORMAL_COUNT), dtype=wp.vec3, device=str(scene.device))
    wp.launch(
        _shadows,
        dim=shadow.shape,
        inputs=[
            wp.from_torch(scene.kind),
            wp.from_torch(scene.orientation, dtype=wp.quat),
            wp.from_torch(scene.size, dtype=wp.vec3),
            wp.from_torch(scene.waypoints, dtype=wp.vec3),
            wp.vec2(*band),
        ],
        outputs=[shadow],
        device=shadow.device,
    )
    return shadow


def occupancy(scene: SceneBatch, grid: Grid, footprint: Footprint, shadow: wp.array | None = None) -> torch.Tensor:
    """Returns where the footprint's centre would have it touch a static primitive or stand out of the arena.

    Args:
        scene: E worlds; their movers are left out.
        grid: Cells to test, a grid over this batch.
        footprint: Shape of the robot at yaw 0, with its margin.
        shadow: Result of :func:`shadows` for this batch, where it is at hand.

    Returns:
        1 where blocked, 0 where free, shape [E, H, W], uint8.
    """
    inside = []
    for axis, extent in enumerate((footprint.half_length, footprint.half_width)):
        reach = extent + footprint.radius - _TOUCH
        place = grid.origin[:, axis, None] + grid.cell[axis] * torch.arange(grid.shape[1 - axis], device=scene.device)
        low, high = scene.bounds[:, axis, None] + reach, scene.bounds[:, axis + 2, None] - reach
        inside.append((place >= low) & (place <= high))
    blocked = (~(inside[0][:, None, :] & inside[1][:, :, None])).to(torch.uint8)
    wp.launch(
        _occupy,
        dim=(*scene.kind.shape, grid.shape[0]),
        inputs=[
            shadows(scene) if shadow is None else shadow,
            wp.from_torch(scene.waypoints, dtype=wp.vec3),
            wp.from_torch(scene.speed),
            wp.from_torch(grid.origin, dtype=wp.vec2),
            wp.vec2(*grid.cell),
            wp.vec3(*footprint.extents),
        ],
        outputs=[wp.from_torch(blocked)],
        device=str(scene.device),
    )
    return blocked
