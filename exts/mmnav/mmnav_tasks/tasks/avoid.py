"""Mmnav-Avoid: an open arena full of movers."""

from __future__ import annotations

from isaaclab.utils import configclass

from mmnav.scenes import AvoidCfg

from .navigation import NavigationEnvCfg


@configclass
class AvoidEnvCfg(NavigationEnvCfg):
    """Mmnav-Avoid: an open arena full of movers."""

    layout: AvoidCfg = AvoidCfg()

    def __post_init__(self):
        """Keeps the robot well away from movers: they come nearer by themselves."""
        super().__post_init__()
        self.rewards.alive.weight = -0.1
        self.rewards.collision.weight = -25.0
        self.rewards.proximity.weight = -5.0
        self.rewards.proximity.params["distance"] = 1.0
