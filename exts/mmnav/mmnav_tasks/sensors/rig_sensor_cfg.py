"""Settings of the rig as an Isaac Lab sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING

from isaaclab.sensors import SensorBaseCfg
from isaaclab.utils import configclass

from mmnav.rig import LookCfg, RigCfg, fisheye_rig, random_day

from .rig_sensor import RigSensor


@configclass
class RigSensorCfg(SensorBaseCfg):
    """A rig of cameras in a scene of boxes, cylinders, cones, spheres and capsules; see :class:`RigSensor`.

    ``prim_path`` is the frame on the robot that carries the rig. It must not be a body itself: Isaac Lab's shape
    spawners put one below theirs, ``{ENV_REGEX_NS}/Robot/geometry``.
    """

    class_type: type = RigSensor
    targets: list[str] = MISSING
    """What is seen: path expressions of prims, one in every env or one for all; every shape at or below them."""
    rig: Callable[[], RigCfg] = fisheye_rig
    """Makes the rig."""
    look: Callable[[], LookCfg] = random_day
    """Makes the ranges of light, sky, ground and paint."""
    seed: int = 0
    """Seed of the looks; every env has its own, and a new one after every reset."""
