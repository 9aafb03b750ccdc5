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
        self.rewards.collision.weight = -15.0
        self.rewards.proximity.weight = -3.0
        self.rewards.proximity.params["distance"] = 0.8
