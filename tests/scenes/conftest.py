"""Hand-made worlds."""

from __future__ import annotations

import numpy as np
import pytest

from mmnav.scenes.batch import Kind, SceneBatch
from mmnav.scenes.builder import WAYPOINT_COUNT, SceneBuilder, quaternion


def _build(
    *geoms: dict,
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
    goal: tuple[float, float] = (6.0, 0.0),
    bounds: tuple[float, float, float, float] = (-1.0, -3.0, 7.0, 3.0),
    slots: int = 8,
) -> SceneBatch:
    builder = SceneBuilder(np.array([0]), np.array([0.0]), bounds)
    for geom in [*geoms, *[{"kind": Kind.NONE}] * (slots - len(geoms))]:
        center = np.array(geom.get("center", (0.0, 0.0, 0.0)), dtype=np.float64)
        way = [center + np.array([*shift, 0.0]) for shift in geom.get("way", [])]
        corners = np.array(([center, *way] + [center] * WAYPOINT_COUNT)[:WAYPOINT_COUNT])
        builder.add(
            geom.get("kind", Kind.BOX),
            center[None, None],
            np.array(geom.get("half", (0.1, 0.1, 0.1)))[None, None],
            quaternion(np.array([[geom.get("yaw", 0.0)]]), geom.get("tilt", 0.0)),
            waypoints=corners[None, None],
            speed=geom.get("speed", 0.0),
        )
    return builder.build(np.array([start]), np.array([goal]))


@pytest.fixture
def world():
    """Builds one world from primitives given as dicts.

    Keys: kind (box), center, half (extents), yaw, tilt, and for movers speed and way, the corners after the first one
    relative to it.
    """
    return _build
