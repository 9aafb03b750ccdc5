"""Distances in float64 by projected gradients, to hold the GJK kernel against: it shares no method with it.

The distance is that between the nearest pair of points, the minimum of a smooth convex function over a box: the
robot's own coordinates and the share of the way. FISTA (Beck, Teboulle 2009) with restarts finds it from closed-form
projections on the primitives; a supporting plane then proves how far from the minimum it can be.
"""

from __future__ import annotations

import numpy as np

from mmnav.scenes.batch import Kind


def rotation_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Returns the matrices of unit quaternions (x, y, z, w), shapes [N, 4] and [N, 3, 3]."""
    x, y, z, w = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def project(kind: Kind, x: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns the points of primitives (in their own frames) nearest to ``x``, all of shape [N, 3]."""
    if kind == Kind.BOX:
        return np.clip(x, -size, size)
    radius, half = size[:, 0], size[:, 2]
    if kind in (Kind.SPHERE, Kind.CAPSULE):
        axis = np.zeros_like(x)
        if kind == Kind.CAPSULE:
            axis[:, 2] = np.clip(x[:, 2], -np.maximum(half - radius, 0), np.maximum(half - radius, 0))
        away = x - axis
        length = np.linalg.norm(away, axis=1)
        return axis + away * np.minimum(1, radius / np.maximum(length, 1e-300))[:, None]
    across = np.linalg.norm(x[:, :2], axis=1)
    unit = x[:, :2] / np.maximum(across, 1e-300)[:, None]
    if kind == Kind.CYLINDER:
        profile = np.stack([np.minimum(across, radius), np.clip(x[:, 2], -half, half)], 1)
    else:
        profile = _project_on_cone_profile(np.stack([across, x[:, 2]], 1), radius, half)
    return np.concatenate([unit * profile[:, :1], profile[:, 1:]], 1)


def _project_on_cone_profile(p: np.ndarray, radius: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Projects (distance from axis, z) on the triangle (0, -half), (radius, -half), (0, half)."""
    zero = np.zeros_like(radius)
    rim, apex = np.stack([radius, -half], 1), np.stack([zero, half], 1)
    base = np.stack([np.minimum(p[:, 0], radius), -half], 1)
    slant = apex - rim
    share = np.clip(((p - rim) * slant).sum(1) / np.maximum((slant**2).sum(1), 1e-300), 0, 1)
    side = rim + share[:, None] * slant
    on_base = ((p - base) ** 2).sum(1) < ((p - side) ** 2).sum(1)
    nearest = np.where(on_base[:, None], base, side)
    # Inside: within the bounds and on the axis' side of the slant.
    turn = slant[:, 0] * (p[:, 1] - rim[:, 1]) - slant[:, 1] * (p[:, 0] - rim[:, 0])
    inside = (np.abs(p[:, 1]) <= half) & (p[:, 0] <= radius) & (turn >= 0)
    return np.where(inside[:, None], p, nearest)


def support_value(kind: Kind, n: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns how far primitives (in their own frames) extend along unit vectors ``n``, shape [N]."""
    if kind == Kind.BOX:
        return (np.abs(n) * size).sum(1)
    radius, half = size[:, 0], size[:, 2]
    across = np.linalg.norm(n[:, :2], axis=1)
    if kind == Kind.SPHERE:
        return radius
    if kind == Kind.CAPSULE:
        return np.maximum(half - radius, 0) * np.abs(n[:, 2]) + radius
    if kind == Kind.CYLINDER:
        return radius * across + half * np.abs(n[:, 2])
    return np.maximum(half * n[:, 2], radius * across - half * n[:, 2])


def swept_distance(
    kind: Kind,
    size: np.ndarray,
    position: np.ndarray,
    orientation: np.ndarray,
    robot_position: np.ndarray,
    robot_orientation: np.ndarray,
    robot_half: np.ndarray,
    way: np.ndarray,
    iterations: int = 2000,
) -> tuple[np.ndarray, np.ndarray]:
    """Brackets the distances [m] of N primitives of one kind to N cuboids.

    Args:
        way: Displacement of each primitive relative to its cuboid, which ends at ``position`` [m], shape [N, 3].

    Returns:
        Upper bounds, which some pair of points attains, and lower bounds, proven by a plane between; shape [N].
    """
    geom = rotation_matrices(orientation)
    turn = np.einsum("nji,njk->nik", geom, rotation_matrices(robot_orientation))  # geom from robot
    origin = np.einsum("nji,nj->ni", geom, robot_position - position)
    back = np.einsum("nji,nj->ni", geom, way)
    length = np.linalg.norm(back, axis=1)
    unit = back / np.maximum(length, 1e-300)[:, None]
    jacobian = np.concatenate([turn, unit[:, :, None]], 2)  # of the point against (robot coordinates, way back)
    low = np.concatenate([np.tile(-robot_half, (len(size), 1)), np.zeros((len(size), 1))], 1)
    high = np.concatenate([np.tile(robot_half, (len(size), 1)), length[:, None]], 1)

    def residual(u: np.ndarray) -> np.ndarray:
        x = origin + np.einsum("nij,nj->ni", jacobian, u)
        return x - project(kind, x, size)

    u = previous = np.zeros_like(low)
    y, momentum = u, np.ones((len(size), 1))
    for _ in range(iterations):
        gradient = np.einsum("nij,ni->nj", jacobian, residual(y))
        u = np.clip(y - 0.5 * gradient, low, high)  # the jacobian's squared norm is at most 2
        restart = ((y - u) * (u - previous)).sum(1, keepdims=True) > 0
        following = np.where(restart, 1, (1 + np.sqrt(1 + 4 * momentum**2)) / 2)
        y = u + np.where(restart, 0, (momentum - 1) / following) * (u - previous)
        previous, momentum = u, following
    r = residual(u)
    upper = np.linalg.norm(r, axis=1)
    n = r / np.maximum(upper, 1e-300)[:, None]  # from the primitive to the robot
    robot = np.einsum("nj,nj->n", origin, n) - (np.abs(np.einsum("nij,ni->nj", turn, n)) * robot_half).sum(1)
    lower = robot - support_value(kind, n, size) + np.minimum(0, (back * n).sum(1))
    return upper, np.maximum(lower, 0)
