"""Mmnav-Squeeze: rows of gaps hardly wider than the robot."""

from __future__ import annotations

from isaaclab.utils import configclass

from mmnav.scenes import SqueezeCfg

from .navigation import NavigationEnvCfg


@configclass
class SqueezeEnvCfg(NavigationEnvCfg):
    """Mmnav-Squeeze: rows of gaps hardly wider than the robot."""

    layout: SqueezeCfg = SqueezeCfg()
    geodesic_progress: bool = True
