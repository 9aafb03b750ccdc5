"""Capability balancing: what the student is worst at, it sees most of (MM-Nav, arXiv 2510.03142, stage 2)."""

from __future__ import annotations

from collections.abc import Mapping

FLOOR, EXPONENT = 0.1, 0.3
"""The lower bound that the paper's plot of the gaps shows, and the exponent that reproduces its shares to 0.1 point."""

MAX_GAP = 20.0
"""Gap of a student that has not succeeded once [1]: the paper plots none beyond 12.04."""


def gap(student: Mapping, expert: Mapping) -> float:
    """How far a student is behind an expert in one capability: WTT_student / WTT_expert - 1.

    Args:
        student: The student's row of :func:`mmnav.evaluate.summarize`.
        expert: The expert's, on the same layouts.

    Returns:
        The gap; negative if the student is ahead, :data:`MAX_GAP` if it never succeeded.

    Raises:
        ValueError: If the expert never succeeded.
    """
    if expert["WTT"] is None:
        raise ValueError("the expert never succeeded, so there is nothing to be behind of.")
    if student["WTT"] is None:
        return MAX_GAP
    return min(student["WTT"] / expert["WTT"] - 1.0, MAX_GAP)


def shares(gaps: Mapping[str, float], balance: bool = True) -> dict[str, float]:
    """Shares of the capabilities in the data of an iteration: p_c ~ max(g_c, 0.1)^0.3.

    Args:
        gaps: The gap of each capability.
        balance: Whether to balance at all; equal shares if not.

    Returns:
        The shares, adding up to 1.
    """
    weights = {name: max(g, FLOOR) ** EXPONENT if balance else 1.0 for name, g in gaps.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
