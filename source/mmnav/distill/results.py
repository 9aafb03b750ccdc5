"""``results.json``: what a run was made with, and whether other words can go on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ..errors import UserError
from ..vla import MMNavConfig
from .settings import DistillCfg

_PASSING = ("transformers_version", "_name_or_path", "architectures", "dtype")
"""What a configuration tells of how it was loaded."""

_OFFLINE, _ONLINE = (["train/stage 1", "students/stage 1"], ["train/iteration 1", "students/iteration 1"])
_TRACES = {
    **{lesson: [f"train/{lesson}", "students/pretrained"] for lesson in ("sight", "panorama", "reading")},
    **dict.fromkeys(("offline", "frozen_tower", "chunk", "lora_rank"), _OFFLINE),
    **dict.fromkeys(("rollout_steps", "mixing", "balance"), ["episodes/iteration 1", *_ONLINE]),
    **dict.fromkeys(("online", "demo_share"), _ONLINE),
    "iterations": [],
}
"""Fields of a configuration that do not matter from the start, and what is in a run's folder once they have."""


def read_run(
    cfg: DistillCfg, folder: Path, student: MMNavConfig | None = None, origin: Mapping[str, object] | None = None
) -> dict | None:
    """The results of the run that a folder holds, which this configuration can go on with; None if it holds none.

    Args:
        cfg: The configuration. What the run does not depend on yet may be another: the number of iterations, and the
            settings of parts that have not begun.
        folder: The run's folder.
        student: The student's configuration, if that is to be compared as well.
        origin: What else the run is made with, if that is.

    Raises:
        UserError: If it holds a run of another configuration, student or origin, or ``results.json`` cannot be read.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        return None
    try:
        results = json.loads(path.read_text())
        theirs = {name: dict(results[name]) for name in ("cfg", "student", "origin")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); name another --out.") from error
    words = {"cfg": "a run with", "student": "a run of a student with", "origin": "a run with"}
    ours = {"cfg": asdict(cfg), "student": describe_student(student) if student else {}, "origin": dict(origin or {})}
    for part, values in json.loads(json.dumps(ours)).items():
        changed = [k for k, value in values.items() if theirs[part].get(k) != value and _matters(k, Path(folder))]
        if changed:
            raise UserError(f"{path} is {words[part]} another {', '.join(changed)}; name another --out.")
    return results


def changes(before: Mapping, now: Mapping) -> list[str]:
    """What differs between a run's configurations before and now, as plain data: each setting with both values."""
    old = _flat(before)
    return [f"{name} {old.get(name)} -> {value}" for name, value in _flat(now).items() if old.get(name) != value]


def _flat(settings: Mapping, prefix: str = "") -> dict[str, object]:
    """Settings within settings by their names on the command line: ``online.lr``."""
    flat = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _matters(name: str, folder: Path) -> bool:
    """Whether what a run has done so far depends on a field of its configuration."""
    return name not in _TRACES or any((folder / trace).exists() for trace in _TRACES[name])


def precision_of(results: dict | None) -> str | None:
    """The precision of a run that is to go on, whatever machine it came from; None if there is no run."""
    return results["origin"].get("precision") if results else None


def describe_student(config: MMNavConfig) -> dict:
    """What makes a student this student and no other, as plain data."""
    names = [name for name in MMNavConfig.__annotations__ if not name.endswith("_config")]
    inner = {"vision": config.vision_config.to_dict(), "language": config.text_config.to_dict()}
    kept = {name: {k: v for k, v in c.items() if k not in _PASSING} for name, c in inner.items()}
    return json.loads(json.dumps({name: getattr(config, name) for name in names} | kept))


def best_stage(results: Mapping) -> int:
    """Index of the stage with the highest mean success; the first of equals."""
    means = [mean_success(stage["rows"]) for stage in results["stages"]]
    return means.index(max(means))


def mean_success(rows: Mapping[str, Mapping]) -> float:
    """Mean success rate over the families."""
    return sum(row["SR"] for row in rows.values()) / len(rows)
