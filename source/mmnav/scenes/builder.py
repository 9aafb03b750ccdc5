"""SceneBuilder: collects primitives slot by slot, for all worlds at once, into a SceneBatch."""

from __future__ import annotations

import numpy as np
import torch

from .batch import MAX_GEOMS, Kind, SceneBatch
from .draws import Draws

WAYPOINT_COUNT = 3
"""Corners of a mover's way: its place at time zero and the two ends of the chord it runs to and fro on."""

WALL_HEIGHT = 1.2
WALL_THICKNESS = 0.1


def quaternion(yaw: np.ndarray, tilt: np.ndarray | float = 0.0) -> np.ndarray:
    """World-from-local quaternions (x, y, z, w) that tilt by ``tilt`` [rad] about x and then turn by ``yaw`` [rad]."""
    yaw, tilt = np.broadcast_arrays(np.asarray(yaw, dtype=np.float64), tilt)
    cy, sy, ct, st = np.cos(yaw / 2), np.sin(yaw / 2), np.cos(tilt / 2), np.sin(tilt / 2)
    return np.stack([cy * st, sy * st, sy * ct, cy * ct], -1)


def draw_paint(seeds: np.ndarray, geom_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Base colours, shape [E, K, 3], and texture families, shape [E, K], of E worlds' primitives, by seeds [E]."""
    draws = Draws(seeds, "looks")
    return draws.uniform(0.1, 0.9, geom_count, 3), draws.integers(0, 5, geom_count)


class SceneBuilder:
    """Collects the primitives of E worlds; every ``add`` appends the same number of slots to each of them."""

    def __init__(self, seeds: np.ndarray, difficulty: np.ndarray, bounds: tuple[float, float, float, float]):
        """Starts E worlds in one arena.

        Args:
            seeds: Integer seeds, shape [E].
            difficulty: Difficulties in [0, 1], shape [E].
            bounds: Arena as (x_min, y_min, x_max, y_max) [m].
        """
        self.seeds = np.atleast_1d(np.asarray(seeds, dtype=np.int64))
        self.difficulty = np.broadcast_to(np.asarray(difficulty, dtype=np.float64), self.seeds.shape)
        if not np.all((self.difficulty >= 0.0) & (self.difficulty <= 1.0)):
            raise ValueError(f"difficulty must lie in [0, 1], not {self.difficulty.min()}..{self.difficulty.max()}.")
        self.bounds = bounds
        self._slots: dict[str, list[np.ndarray]] = {}

    def add(
        self,
        kind: Kind | np.ndarray,
        position: np.ndarray,
        size: np.ndarray,
        orientation: np.ndarray | None = None,
        active: np.ndarray | bool = True,
        waypoints: np.ndarray | None = None,
        speed: np.ndarray | float = 0.0,
    ) -> None:
        """Appends n primitives to every world.

        Args:
            kind: One kind, or kinds of shape [E, n].
            position: Centres [m], shape [E, n, 3].
            size: Half extents [m], shape [E, n, 3].
            orientation: Quaternions (x, y, z, w), shape [E, n, 4]; upright if not given.
            active: Which of them exist, shape [E, n]; the others become :attr:`Kind.NONE`.
            waypoints: Ways of movers [m], shape [E, n, W, 3]; the position if not given.
            speed: Speeds along the ways [m/s], shape [E, n].
        """
        env_count, n = position.shape[:2]
        active = np.broadcast_to(active, (env_count, n))
        if orientation is None:
            orientation = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (env_count, n, 4))
        if waypoints is None:
            waypoints = np.broadcast_to(position[:, :, None], (env_count, n, WAYPOINT_COUNT, 3))
        slot = {
            "kind": np.where(active, kind, Kind.NONE),
            "position": position,
            "orientation": orientation,
            "size": np.broadcast_to(size, (env_count, n, 3)),
            "waypoints": waypoints,
            "speed": np.where(active, speed, 0.0),
        }
        for name, value in slot.items():
            self._slots.setdefault(name, []).append(value)

    def add_walls(self) -> None:
        """Closes the arena with four walls that stand just outside its bounds."""
        x0, y0, x1, y1 = self.bounds
        t = WALL_THICKNESS / 2
        cx, cy, hx, hy, z = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2 + 2 * t, (y1 - y0) / 2 + 2 * t, WALL_HEIGHT / 2
        center = np.array([[cx, y0 - t, z], [cx, y1 + t, z], [x0 - t, cy, z], [x1 + t, cy, z]])
        half = np.array([[hx, t, z], [hx, t, z], [t, hy, z], [t, hy, z]])
        shape = (len(self.seeds), 4, 3)
        self.add(Kind.BOX, np.broadcast_to(center, shape), np.broadcast_to(half, shape))

    def build(self, start: np.ndarray, goal: np.ndarray) -> SceneBatch:
        """Closes the batch.

        Args:
            start: Start poses (x, y, yaw), shape [E, 3].
            goal: Goal positions, shape [E, 2].

        Returns:
            The worlds, on the CPU.
        """
        arrays = {name: np.concatenate(parts, axis=1) for name, parts in self._slots.items()}
        env_count, geom_count = arrays["kind"].shape
        if geom_count > MAX_GEOMS:
            raise ValueError(f"The scene holds {geom_count} primitive slots; at most {MAX_GEOMS} fit.")
        arrays["color"], arrays["texture"] = draw_paint(self.seeds, geom_count)
        arrays |= {"start": start, "goal": goal, "difficulty": self.difficulty}
        arrays["bounds"] = np.broadcast_to(self.bounds, (env_count, 4))
        tensors = {
            name: torch.from_numpy(np.array(value, dtype=np.float32, order="C")) for name, value in arrays.items()
        }
        for name in ("kind", "texture"):
            tensors[name] = tensors[name].to(torch.int32)
        return SceneBatch(**tensors, seed=torch.from_numpy(self.seeds.copy()))
