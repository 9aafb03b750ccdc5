"""Worlds: what they are, how they are made, what is near, and how they are solved."""

from __future__ import annotations

import numpy as np

from . import avoid, mixed, reach, squeeze
from .avoid import AvoidCfg
from .batch import MAX_GEOMS, Kind, SceneBatch
from .mixed import MixedCfg
from .motion import advance
from .reach import ReachCfg
from .squeeze import SqueezeCfg

SCENES = {"Reach": ReachCfg, "Squeeze": SqueezeCfg, "Avoid": AvoidCfg, "Mixed": MixedCfg}
"""Scene families by name."""

_GENERATORS = {ReachCfg: reach, SqueezeCfg: squeeze, AvoidCfg: avoid, MixedCfg: mixed}


def generate(cfg: object, seeds: np.ndarray, difficulty: np.ndarray | float = 1.0) -> SceneBatch:
    """Makes one layout of the family that ``cfg`` describes for every seed; see the families' own ``generate``."""
    return _GENERATORS[type(cfg)].generate(cfg, seeds, difficulty)


__all__ = [
    "MAX_GEOMS",
    "SCENES",
    "AvoidCfg",
    "Kind",
    "MixedCfg",
    "ReachCfg",
    "SceneBatch",
    "SqueezeCfg",
    "advance",
    "generate",
]
