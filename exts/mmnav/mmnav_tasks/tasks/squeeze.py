"""Mmnav-Squeeze: rows of gaps hardly wider than the robot."""

from __future__ import annotations

from isaaclab.managers import RewardTermCfg
from isaaclab.utils import configclass

from mmnav.scenes import SqueezeCfg

from .. import mdp
from .navigation import NavigationEnvCfg, RewardsCfg


@configclass
class SqueezeRewardsCfg(RewardsCfg):
    """Nose first: wide gaps at the beginning of the curriculum can be backed through just as well."""

    collision = RewardTermCfg(func=mdp.rewards.collision, weight=-8.0)
    backward = RewardTermCfg(func=mdp.rewards.backward, weight=-0.6)


@configclass
class SqueezeEnvCfg(NavigationEnvCfg):
    """Mmnav-Squeeze: rows of gaps hardly wider than the robot."""

    layout: SqueezeCfg = SqueezeCfg()
    geodesic_progress: bool = True
    rewards: SqueezeRewardsCfg = SqueezeRewardsCfg()
