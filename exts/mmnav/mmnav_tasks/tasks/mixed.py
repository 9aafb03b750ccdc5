"""Mmnav-Mixed: clutter, narrow gaps and movers in one arena, for evaluation."""

from __future__ import annotations

from isaaclab.utils import configclass

from mmnav.scenes import MixedCfg

from .navigation import NavigationEnvCfg


@configclass
class MixedEnvCfg(NavigationEnvCfg):
    """Mmnav-Mixed: clutter, narrow gaps and movers in one arena, for evaluation."""

    layout: MixedCfg = MixedCfg()
