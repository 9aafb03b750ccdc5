"""Episodes whose every value says which episode, which step and which column it belongs to."""

from __future__ import annotations

import numpy as np

from mmnav.data.demo import FIELDS, OUTCOMES, Demo


def numbered_demo(number: int, steps: int = 4, pixels: bool = False) -> Demo:
    """Episode ``number``: field f of step t holds ``1000 number + 10 t + 100 f`` and the column behind the point."""
    arrays = {}
    for place, (name, (_, width)) in enumerate(FIELDS.items()):
        value = 1000.0 * number + 100.0 * place + 10.0 * np.arange(steps)
        arrays[name] = (value[:, None] + np.arange(width) / 8.0 if width else value).astype(np.float32)
    arrays["by_expert"] = (np.arange(steps) % 2 == number % 2).astype(np.uint8)
    arrays["time"] = (0.1 * np.arange(steps) + number).astype(np.float32)
    return Demo(
        scene=(
            {"family": "Reach", "half_width": 6.0 + number},
            {"family": "Squeeze", "easy_gap_width": [0.8, 1.1 + number]},
            {"family": "Avoid", "half_width": 6.0 + number},
        )[number % 3],
        layout=7 * number,
        difficulty=1.0 / (1 + number),
        outcome=OUTCOMES[number % 4],
        labels=f"expert {number % 3}",
        pixels=[f"step {t} of {number}".encode() * (t + 1) for t in range(steps)] if pixels else None,
        **arrays,
    )


def assert_same(found: Demo, expected: Demo) -> None:
    """Every field of two episodes is equal, bit for bit, and of the same type."""
    for name in ("scene", "layout", "difficulty", "outcome", "labels", "pixels"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in FIELDS:
        a, b = getattr(found, name), getattr(expected, name)
        assert a.dtype == b.dtype and np.array_equal(a, b), name
