"""A top-down picture of a world: shapes in their colours, movers with arrows, gaps labelled, the robot to scale."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon, Rectangle

from ..robot import ROBOT, RobotCfg
from .batch import Kind, SceneBatch

_SEGMENTS = 24
_WIDEST_LABELLED_GAP = 1.2


def draw_scene(axes: Axes, scene: SceneBatch, env: int = 0, *, labels: bool = True) -> dict[int, Polygon]:
    """Draws one world at time zero into Matplotlib axes.

    Args:
        axes: Where to draw; limits and aspect are set.
        scene: Worlds, on any device.
        env: Which of them.
        labels: Whether gap widths [cm] and the movers' ways, directions and speeds [m/s] are drawn.

    Returns:
        The patches of the primitives, by their index.
    """
    world = scene[env : env + 1].to("cpu")
    kind, size = world.kind[0].numpy(), world.size[0].numpy()
    orientation, color, speed = world.orientation[0].numpy(), world.color[0].numpy(), world.speed[0].numpy()
    place = world.position[0].numpy()
    patches: dict[int, Polygon] = {}
    x0, y0, x1, y1 = world.bounds[0].numpy()
    axes.set(xlim=(x0 - 0.3, x1 + 0.3), ylim=(y0 - 0.3, y1 + 0.3), aspect="equal", xlabel="x [m]", ylabel="y [m]")
    axes.set_facecolor("0.96")
    for k in np.flatnonzero(kind != Kind.NONE):
        outline = _outline(kind[k], place[k], orientation[k], size[k])
        above = place[k, 2] - _half_height(kind[k], orientation[k], size[k]) > 2 * ROBOT.half_extents[2] + 0.05
        face = np.sqrt(color[k])
        patches[k] = Polygon(
            outline, facecolor=face, edgecolor="0.15", linewidth=0.8, alpha=0.45 if above else 1.0, zorder=2
        )
        axes.add_patch(patches[k])
        if labels and speed[k] > 0.0:
            _draw_way(axes, world, k, place[k])
    if labels:
        for a, b in _gaps(kind, place, size, orientation):
            axes.annotate("", a, b, arrowprops={"arrowstyle": "<->", "color": "tab:red", "lw": 0.8}, zorder=4)
            text = f"{100 * np.linalg.norm(np.subtract(a, b)):.0f}"
            axes.text(a[0] + 0.1, (a[1] + b[1]) / 2, text, color="tab:red", fontsize=7, va="center", zorder=4)
    axes.add_patch(Circle(world.goal[0].numpy(), 0.5, facecolor="tab:green", alpha=0.35, zorder=1))
    axes.plot(*world.goal[0].numpy(), marker="*", color="tab:green", markersize=11, zorder=5)
    return patches


def draw_robot(
    axes: Axes, pose: np.ndarray, robot: RobotCfg = ROBOT, color: str = "tab:orange"
) -> tuple[Rectangle, Polygon]:
    """Draws the robot's footprint to scale with a mark at its front; returns both patches.

    Args:
        axes: Where to draw.
        pose: Pose (x, y, yaw) [m, m, rad].
        robot: Its footprint.
        color: Fill colour.
    """
    x, y, yaw = (float(v) for v in pose)
    length, width = robot.half_extents[:2]
    body = Rectangle(
        (x - length, y - width), 2 * length, 2 * width, angle=np.degrees(yaw), rotation_point="center",
        facecolor=color, edgecolor="black", linewidth=0.8, zorder=6,
    )  # fmt: skip
    front = np.array([[0.35, 0.0], [0.12, 0.11], [0.12, -0.11]]) * (length / 0.35)
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    nose = Polygon(front @ turn.T + (x, y), facecolor="black", zorder=7)
    axes.add_patch(body)
    axes.add_patch(nose)
    return body, nose


def rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    """World-from-local rotation, shape [3, 3], of a unit quaternion (x, y, z, w)."""
    x, y, z, w = (float(v) for v in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _local_points(kind: int, size: np.ndarray) -> np.ndarray:
    """Points [N, 3] whose convex hull is the primitive, round parts as polygons."""
    angle = np.linspace(0.0, 2 * np.pi, _SEGMENTS, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(_SEGMENTS)], -1)
    if kind == Kind.BOX:
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        return corners * size
    if kind == Kind.CYLINDER:
        return np.concatenate([ring * size + (0, 0, size[2]), ring * size - (0, 0, size[2])])
    if kind == Kind.CONE:
        return np.concatenate([ring * size - (0, 0, size[2]), [[0.0, 0.0, size[2]]]])
    shift = np.array([0.0, 0.0, size[2] - size[0]]) if kind == Kind.CAPSULE else np.zeros(3)
    elevation = np.linspace(-np.pi / 2, np.pi / 2, 9)[:, None, None]
    ball = np.cos(elevation) * ring + np.sin(elevation) * (0.0, 0.0, 1.0)
    ball = ball.reshape(-1, 3) * size[0]
    return np.concatenate([ball + shift, ball - shift])


def _outline(kind: int, center: np.ndarray, orientation: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Corners [N, 2] of the primitive's shadow on the ground under a vertical light."""
    points = _local_points(kind, size) @ rotation_matrix(orientation).T + center
    return points[_hull(points[:, :2]), :2]


def _hull(points: np.ndarray) -> list[int]:
    """Indices of the convex hull in order (gift wrapping by cross products; Andrew's monotone chain)."""
    order = sorted(range(len(points)), key=lambda i: (round(points[i, 0], 6), round(points[i, 1], 6)))
    hull: list[int] = []
    for direction in (order, order[::-1]):
        chain: list[int] = []
        for i in direction:
            while len(chain) >= 2:
                (ax, ay), (bx, by) = points[chain[-1]] - points[chain[-2]], points[i] - points[chain[-2]]
                if ax * by - ay * bx > 1e-9:
                    break
                chain.pop()
            chain.append(i)
        hull += chain[:-1]
    return hull


def _half_height(kind: int, orientation: np.ndarray, size: np.ndarray) -> float:
    """Half the primitive's vertical extent [m]."""
    return float((_local_points(kind, size) @ rotation_matrix(orientation).T)[:, 2].max())


def _draw_way(axes: Axes, world: SceneBatch, k: int, place: np.ndarray) -> None:
    """Draws a mover's chord as a thin line and its present direction as an arrow of a second's length."""
    way = world.waypoints[0, k, :, :2].numpy()
    axes.plot(way[1:, 0], way[1:, 1], color="tab:blue", linewidth=0.5, alpha=0.5, zorder=1)
    heading = way[1] - way[0]
    step = heading / max(np.linalg.norm(heading), 1e-6) * float(world.speed[0, k])
    axes.arrow(*place[:2], *step, width=0.03, head_width=0.16, length_includes_head=True, color="tab:blue", zorder=4)
    axes.text(*(place[:2] + 1.1 * step), f"{float(world.speed[0, k]):.1f}", color="tab:blue", fontsize=7, zorder=5)


def _gaps(kind: np.ndarray, place: np.ndarray, size: np.ndarray, orientation: np.ndarray):
    """Ends of the openings between neighbouring wall pieces of a row: boxes on one line across x, longer than thick."""
    upright = np.abs(orientation[:, :2]).max(-1) + np.abs(orientation[:, 2]) < 1e-6
    pieces = np.flatnonzero((kind == Kind.BOX) & upright & (size[:, 0] < 0.08) & (size[:, 1] > 0.1))
    for x in np.unique(np.round(place[pieces, 0], 4)):
        row = sorted((k for k in pieces if abs(place[k, 0] - x) < 1e-3), key=lambda k: place[k, 1])
        for low, high in zip(row[:-1], row[1:], strict=True):
            a, b = place[low, 1] + size[low, 1], place[high, 1] - size[high, 1]
            if 0.0 < b - a < _WIDEST_LABELLED_GAP:
                yield (x, a), (x, b)
