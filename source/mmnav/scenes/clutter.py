"""Static clutter and movers that leave a known way free: what reach, avoid and mixed scenes are made of."""

from __future__ import annotations

import numpy as np

from ..robot import ROBOT
from .batch import Kind
from .builder import SceneBuilder, quaternion
from .draws import Draws

CORRIDOR_MARGIN = 0.12
"""Room [m] kept between the robot's circumscribed circle and anything beside the witness way."""

_TRIES = 4
_WITNESS_SPEED = 0.45
"""Speed [m/s] at which the witness goes: the slowest direction of the base reaches 0.5 m/s."""
_WITNESS_WAIT = 3.0
"""Time [s] that the witness stays at the start: half a turn takes the base 2.6 s."""

_WITNESS_SAMPLES = 96


def segment_distance(point: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Distance [m] from points [E, ..., 2] to the polyline [E, P, 2] of their world."""
    extra = (1,) * (point.ndim - 2)
    best = np.full(point.shape[:-1], np.inf)
    for a, b in zip(way.swapaxes(0, 1)[:-1], way.swapaxes(0, 1)[1:], strict=True):
        a, leg = a.reshape(len(a), *extra, 2), (b - a).reshape(len(a), *extra, 2)
        along = ((point - a) * leg).sum(-1) / np.maximum((leg * leg).sum(-1), 1e-9)
        nearest = a + np.clip(along, 0.0, 1.0)[..., None] * leg
        best = np.minimum(best, np.linalg.norm(point - nearest, axis=-1))
    return best


def first_valid(valid: np.ndarray, *candidates: np.ndarray) -> tuple[np.ndarray, ...]:
    """Picks the first valid of the tries along axis 1, the last one where none is.

    Args:
        valid: Which tries are valid, shape [E, T, n].
        *candidates: Arrays of shape [E, T, n, ...].

    Returns:
        The picked rows, shape [E, n, ...] each, and last whether they are valid, shape [E, n].
    """
    pick = np.where(valid.any(1), valid.argmax(1), valid.shape[1] - 1)[:, None]
    picked = [np.take_along_axis(c, pick.reshape(pick.shape + (1,) * (c.ndim - 3)), 1)[:, 0] for c in candidates]
    return *picked, valid.any(1)


def add_clutter(
    builder: SceneBuilder,
    draws: Draws,
    count: int,
    active: np.ndarray,
    area: tuple[float, float, float, float],
    way: np.ndarray,
) -> None:
    """Adds static boxes, cylinders, cones, spheres, tilted boxes, thin sticks and horizontal bars beside a free way.

    Args:
        builder: Where they are added.
        draws: Their random numbers.
        count: Slots to add.
        active: Which of them exist, shape [E, count].
        area: Where their centres may be, as (x_min, y_min, x_max, y_max) [m].
        way: Polyline that stays free for the robot's circumscribed circle [m], shape [E, P, 2].
    """
    shape = np.arange(count) % 8  # 0-1 box, 2 cylinder, 3 cone, 4 sphere, 5 tilted box, 6 stick, 7 bar
    wide = draws.uniform(0.12, 0.45, count)
    deep = draws.uniform(0.12, 0.45, count)
    half_height = draws.uniform(0.2, 0.7, count)
    tilt = draws.uniform(0.15, 0.6, count)
    yaw = draws.uniform(-np.pi, np.pi, count)
    lift = draws.uniform(0.12, 0.42, count)

    kind = np.array([Kind.BOX, Kind.BOX, Kind.CYLINDER, Kind.CONE, Kind.SPHERE, Kind.BOX, Kind.CAPSULE, Kind.CAPSULE])
    thin = draws.uniform(0.012, 0.03, count)
    long = draws.uniform(0.4, 0.75, count)
    is_round = np.isin(shape, (2, 3))
    size = np.stack([wide, np.where(is_round, wide, deep), half_height], -1)
    size = np.where((shape == 4)[:, None], wide[..., None], size)
    size = np.where((shape >= 6)[:, None], np.stack([thin, thin, long], -1), size)
    tilt = np.where(shape == 5, tilt, np.where(shape == 7, np.pi / 2, 0.0))
    height = np.where(shape == 7, lift, np.where(shape == 5, 0.8 * half_height, size[..., 2]))
    reach = np.where(shape == 7, long, np.linalg.norm(size[..., :2], axis=-1))
    reach = np.where(is_round | (shape == 4), wide, np.where(shape == 5, np.linalg.norm(size, axis=-1), reach))

    low, high = np.array(area[:2]), np.array(area[2:])
    center = draws.uniform(low, high, _TRIES, count, 2)
    keep_out = ROBOT.radius + CORRIDOR_MARGIN + reach[:, None]
    center, valid = first_valid(segment_distance(center, way) > keep_out, center)
    position = np.concatenate([center, height[..., None]], -1)
    builder.add(kind[shape], position, size, quaternion(yaw, tilt), active & valid)


def add_movers(
    builder: SceneBuilder,
    draws: Draws,
    count: int,
    active: np.ndarray,
    area: tuple[float, float, float, float],
    way: np.ndarray,
    speed_scale: np.ndarray,
    aim: tuple[np.ndarray, np.ndarray],
    sticks: bool,
) -> None:
    """Adds movers that run to and fro on chords of an area; many cross the robot's straight way just when it is there.

    A mover that would touch a witness, who waits three seconds and then goes along ``way`` at 0.45 m/s, is drawn anew,
    and left out after four tries. So at least the witness's way is always open.

    Args:
        builder: Where they are added.
        draws: Their random numbers.
        count: Slots to add.
        active: Which of them exist, shape [E, count].
        area: Where they run, as (x_min, y_min, x_max, y_max) [m].
        way: The witness's polyline [m], shape [E, P, 2].
        speed_scale: Factor on the speeds, shape [E, 1].
        aim: Ends of the straight way that aimed movers cross, each of shape [E, 2].
        sticks: Thin capsules at 1.0 to 1.5 m/s instead of boxes, cones, spheres and cylinders at 0.5 to 0.8 m/s.
    """
    t, (start, goal) = _TRIES, aim
    env_count = len(start)
    speed = draws.uniform(*((1.0, 1.5) if sticks else (0.5, 0.8)), count) * speed_scale
    heading = draws.uniform(-np.pi, np.pi, t, count)
    along = draws.uniform(0.15, 0.95, t, count, 1)
    crossing_time = 0.5 + along[..., 0] * np.linalg.norm(goal - start, axis=-1)[:, None, None] / 0.8
    aimed = draws.chance(0.7 if sticks else 0.5, t, count, 1)
    point = start[:, None, None] + along * (goal - start)[:, None, None] + draws.uniform(-0.3, 0.3, t, count, 2)
    margin = 0.5
    low, high = np.array(area[:2]) + margin, np.array(area[2:]) - margin
    point = np.clip(np.where(aimed, point, draws.uniform(low, high, t, count, 2)), low, high)
    ends, place = _chord(point, heading, low, high, crossing_time * speed[:, None])

    kind, size, rotation, height, reach = _mover_shapes(draws, count, sticks)
    length = np.maximum(np.linalg.norm(ends[..., 1, :] - ends[..., 0, :], axis=-1), 1e-6)[..., None]
    fraction, near = _beside_witness(ends, length, place, speed, way)
    valid = near > (ROBOT.radius + CORRIDOR_MARGIN + reach)[:, None] ** 2
    first = ends[..., 0, :] + fraction[..., :1] * (ends[..., 1, :] - ends[..., 0, :])
    outward = (place[..., None] / length) % 2.0 < 1.0
    onward, homeward = ends[..., 1, :], ends[..., 0, :]
    corners = np.stack([first, np.where(outward, onward, homeward), np.where(outward, homeward, onward)], -2)
    corners, valid = first_valid(valid, corners)
    corners = np.concatenate([corners, np.broadcast_to(height[..., None, None], (env_count, count, 3, 1))], -1)
    builder.add(kind, corners[:, :, 0], size, rotation, active & valid, corners, speed)


def _mover_shapes(draws: Draws, count: int, sticks: bool) -> tuple[np.ndarray, ...]:
    """Kinds [count], sizes [E, count, 3], orientations, heights of the centres and horizontal reaches [m] of movers."""
    if sticks:
        kind = np.full(count, Kind.CAPSULE)
        size = np.stack(np.broadcast_arrays(draws.uniform(0.015, 0.03, count), 0.0, draws.uniform(0.4, 0.6, count)), -1)
        size[..., 1] = size[..., 0]
        rotation = quaternion(draws.uniform(-np.pi, np.pi, count), draws.uniform(0.0, np.pi / 2, count))
        height = draws.uniform(0.25, 0.5, count)
        return kind, size, rotation, height, size[..., 2]
    kind = np.array([Kind.BOX, Kind.CONE, Kind.SPHERE, Kind.CYLINDER])[np.arange(count) % 4]
    wide = draws.uniform(0.15, 0.4, count)
    half_height = np.where(kind == Kind.SPHERE, wide, draws.uniform(0.25, 0.7, count))
    size = np.stack([wide, wide, half_height], -1)
    rotation = quaternion(draws.uniform(-np.pi, np.pi, count))
    return kind, size, rotation, half_height, wide * np.where(kind == Kind.BOX, 2**0.5, 1.0)


def _chord(
    point: np.ndarray, heading: np.ndarray, low: np.ndarray, high: np.ndarray, way: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Chords through points of a rectangle, and how far along them a mover starts to be at the point after ``way`` [m].

    Returns:
        Both ends of the chords, shape [..., 2, 2], and the start as a distance from the first end in [0, 2 length).
    """
    direction = np.stack([np.cos(heading), np.sin(heading)], -1)
    safe = np.where(np.abs(direction) < 1e-6, 1e-6, direction)
    to_low, to_high = (low - point) / safe, (high - point) / safe
    back = np.minimum(to_low, to_high).max(-1)
    ahead = np.maximum(to_low, to_high).min(-1)
    ends = np.stack([point + back[..., None] * direction, point + ahead[..., None] * direction], -2)
    return ends, (-back - way) % np.maximum(2.0 * (ahead - back), 1e-6)


def _beside_witness(
    ends: np.ndarray, length: np.ndarray, place: np.ndarray, speed: np.ndarray, way: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of their chords that movers have gone at the witness's samples [E, T, n, S]; least squares of distance."""
    when, where = (a.astype(np.float32) for a in _witness(way))
    lap = ((when[:, None, None] * speed[:, None, :, None] + place[..., None]) / length).astype(np.float32)
    fraction = 1.0 - np.abs(1.0 - (lap - 2.0 * np.floor(0.5 * lap)))
    near = np.zeros_like(fraction)
    for axis in range(2):
        here, there = (ends[..., i, axis, None].astype(np.float32) for i in range(2))
        near += (here + fraction * (there - here) - where[:, None, None, :, axis]) ** 2
    return fraction, near.min(-1)


def _witness(way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times [E, S] and places [E, S, 2] of a witness who waits 3 s and then goes along the way at 0.45 m/s."""
    leg = np.linalg.norm(np.diff(way, axis=1), axis=-1)
    reached = np.concatenate([np.zeros((len(way), 1)), np.cumsum(leg, 1)], 1)
    when = np.linspace(0.0, 1.0, _WITNESS_SAMPLES) * (reached[:, -1:] / _WITNESS_SPEED + _WITNESS_WAIT)
    gone = np.maximum(when - _WITNESS_WAIT, 0.0) * _WITNESS_SPEED
    where = np.broadcast_to(way[:, :1], (len(way), _WITNESS_SAMPLES, 2))
    for i in range(leg.shape[1]):
        share = np.clip((gone - reached[:, i : i + 1]) / np.maximum(leg[:, i : i + 1], 1e-6), 0.0, 1.0)
        here = way[:, None, i] + share[..., None] * (way[:, i + 1] - way[:, i])[:, None]
        where = np.where((gone >= reached[:, i : i + 1])[..., None], here, where)
    return when, where
