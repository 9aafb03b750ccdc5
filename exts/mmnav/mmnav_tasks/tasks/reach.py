"""Mmnav-Reach: a goal 10 m away through static clutter, thin sticks and bars."""

from __future__ import annotations

from isaaclab.utils import configclass

from mmnav.scenes import ReachCfg

from .navigation import NavigationEnvCfg


@configclass
class ReachEnvCfg(NavigationEnvCfg):
    """Mmnav-Reach: a goal 10 m away through static clutter, thin sticks and bars."""

    layout: ReachCfg = ReachCfg()
