"""The robot's body and limits: a Go2-sized cuboid commanded in velocity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VIEWS = ("front", "right", "back", "left")
"""The views F, R, B, L in their order everywhere (arXiv 2510.03142, figure of the pipeline)."""


@dataclass(frozen=True)
class RobotCfg:
    """A cuboid base with velocity limits; the footprint is a Unitree Go2's (0.70 x 0.31 m)."""

    half_extents: tuple[float, float, float] = (0.35, 0.155, 0.20)
    """Half length, half width and half height [m]."""

    center_height: float = 0.25
    """Height of the body's centre above the ground [m]."""

    max_velocity: tuple[float, float, float] = (1.0, 0.5, 1.2)
    """Limits of forward [m/s], leftward [m/s] and yaw velocity [rad/s]."""

    min_velocity: tuple[float, float, float] = (-0.5, -0.5, -1.2)
    """Limits of backward [m/s], rightward [m/s] and clockwise velocity [rad/s]."""

    time_constant: float = 0.2
    """Nominal time constant of the lag with which the velocity follows the command [s]."""

    acceleration: tuple[float, float, float] = (1.5, 1.5, 4.0)
    """Nominal limits of forward and leftward [m/s^2] and of yaw acceleration [rad/s^2]."""

    @property
    def radius(self) -> float:
        """Radius of the footprint's circumscribed circle [m]."""
        return (self.half_extents[0] ** 2 + self.half_extents[1] ** 2) ** 0.5

    def hull_distance(self, directions: np.ndarray) -> np.ndarray:
        """Way of rays from the footprint's centre to above or below the footprint's edge [m].

        Args:
            directions: Unit directions in the base's frame, shape [..., 3]; none of them vertical.

        Returns:
            Distances, shape [...].
        """
        sides = [half / np.maximum(np.abs(directions[..., i]), 1e-9) for i, half in enumerate(self.half_extents[:2])]
        return np.minimum(*sides)


ROBOT = RobotCfg()
"""The robot of every task."""
