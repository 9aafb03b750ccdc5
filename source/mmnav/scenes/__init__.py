"""Worlds: what they are, how they are made, what is near, and how they are solved."""

from __future__ import annotations

from dataclasses import asdict, fields

import numpy as np

from . import avoid, blend, mixed, reach, squeeze
from .avoid import AvoidCfg
from .batch import MAX_GEOMS, Kind, SceneBatch
from .blend import BlendCfg
from .mixed import MixedCfg
from .motion import advance
from .reach import ReachCfg
from .squeeze import SqueezeCfg

SCENES = {"Reach": ReachCfg, "Squeeze": SqueezeCfg, "Avoid": AvoidCfg, "Mixed": MixedCfg}
"""Scene families by name."""

_GENERATORS = {ReachCfg: reach, SqueezeCfg: squeeze, AvoidCfg: avoid, MixedCfg: mixed, BlendCfg: blend}


def generate(cfg: object, seeds: np.ndarray, difficulty: np.ndarray | float = 1.0) -> SceneBatch:
    """Makes one layout of the family that ``cfg`` describes for every seed; see the families' own ``generate``."""
    return _GENERATORS[type(cfg)].generate(cfg, seeds, difficulty)


def as_record(cfg: object) -> dict:
    """Plain data that says what :func:`from_record` needs to make the same layouts again."""
    name = next(name for name, family in SCENES.items() if type(cfg) is family)
    return {"family": name, **asdict(cfg)}


def from_record(record: dict) -> object:
    """The scene family that :func:`as_record` described.

    Raises:
        ValueError: If the family or a field of it is unknown.
    """
    record = dict(record)
    name = record.pop("family", None)
    if name not in SCENES:
        raise ValueError(f"unknown scene family {name!r}; there are {', '.join(SCENES)}.")
    return _restore(SCENES[name], record)


def _restore(family: type, record: dict) -> object:
    default = family()
    known = {f.name: getattr(default, f.name) for f in fields(family)}
    for name in record:
        if name not in known:
            raise ValueError(f"{family.__name__} has no field {name!r}; there are {', '.join(known)}.")
    nested = {n: _restore(type(known[n]), v) for n, v in record.items() if hasattr(known[n], "__dataclass_fields__")}
    plain = {n: _tuples(v) for n, v in record.items() if n not in nested}
    return family(**plain, **nested)


def _tuples(value):
    """JSON's lists as the tuples they were."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


__all__ = [
    "MAX_GEOMS",
    "SCENES",
    "AvoidCfg",
    "BlendCfg",
    "Kind",
    "MixedCfg",
    "ReachCfg",
    "SceneBatch",
    "SqueezeCfg",
    "advance",
    "as_record",
    "from_record",
    "generate",
]
