"""Blend: layouts of several families side by side; a layout's seed says of which family it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from . import avoid, reach, squeeze
from .avoid import AvoidCfg
from .batch import SceneBatch
from .reach import ReachCfg
from .squeeze import SqueezeCfg

_GENERATORS = {ReachCfg: reach.generate, SqueezeCfg: squeeze.generate, AvoidCfg: avoid.generate}


@dataclass
class BlendCfg:
    """Families whose worlds stand side by side, so that robots of every capability learn in one batch."""

    families: tuple = field(default_factory=lambda: (ReachCfg(), SqueezeCfg(), AvoidCfg()))
    """The n families; the layout of seed s is that of seed s // n of family s % n."""

    def blend(self, family: np.ndarray | int, seeds: np.ndarray) -> np.ndarray:
        """Seeds that stand for a family's own layouts.

        Args:
            family: Indices into :attr:`families`, shape [E] or one for all.
            seeds: The family's own seeds, shape [E].
        """
        return np.asarray(seeds, dtype=np.int64) * len(self.families) + family

    def family(self, seeds: np.ndarray) -> np.ndarray:
        """Indices of the families that blended seeds stand for, shape [E]."""
        return np.asarray(seeds, dtype=np.int64) % len(self.families)


def generate(cfg: BlendCfg, seeds: np.ndarray, difficulty: np.ndarray | float = 1.0) -> SceneBatch:
    """Makes one layout for every seed, padded with unused slots to the family that has most.

    Args:
        cfg: The families.
        seeds: Blended seeds, shape [E]; a layout depends on its own seed and difficulty alone.
        difficulty: Difficulties in [0, 1], shape [E] or one for all.

    Returns:
        The E layouts, on the CPU; their ``seed`` is the family's own.
    """
    seeds = np.atleast_1d(np.asarray(seeds, dtype=np.int64))
    family, own = cfg.family(seeds), seeds // len(cfg.families)
    level = np.broadcast_to(np.asarray(difficulty, dtype=np.float64), seeds.shape)
    slots = slot_count(cfg)
    parts, order = [], []
    for index, inner in enumerate(cfg.families):
        rows = np.flatnonzero(family == index)
        if len(rows):
            parts.append(_GENERATORS[type(inner)](inner, own[rows], level[rows]).padded(slots))
            order.append(rows)
    back = np.empty(len(seeds), dtype=np.int64)
    back[np.concatenate(order)] = np.arange(len(seeds))
    return SceneBatch.cat(parts)[torch.from_numpy(back)]


def slot_count(cfg: BlendCfg) -> int:
    """Primitive slots of every world: those of the family that has most."""
    return max(_GENERATORS[type(inner)](inner, np.zeros(1, dtype=np.int64)).geom_count for inner in cfg.families)
