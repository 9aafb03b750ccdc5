"""Mmnav-Distill: the experts' worlds side by side, where one student learns from all of them."""

from __future__ import annotations

from isaaclab.utils import configclass

from mmnav.scenes import BlendCfg

from .navigation import NavigationEnvCfg


@configclass
class DistillEnvCfg(NavigationEnvCfg):
    """Mmnav-Distill: the experts' worlds side by side, where one student learns from all of them."""

    layout: BlendCfg = BlendCfg()
