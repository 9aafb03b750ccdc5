"""Metrics of navigation, each with the numbers that say how far to trust it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

OUTCOMES = ("collision", "success", "time_out")
"""How an episode can end."""

SUCCESS_RADIUS = 0.5
"""An episode succeeds within this distance of the goal [m]."""


@dataclass(frozen=True)
class Episode:
    """One episode on one layout."""

    layout: int
    """Seed of the layout."""
    outcome: str
    """One of :data:`OUTCOMES`."""
    time: float
    """Duration [s]."""
    path_length: float
    """Way driven [m]."""
    shortest: float
    """Shortest way from start to goal for a robot of that width [m]; infinite if none is known."""
    clearance: float
    """Mean distance to the nearest surface [m], at most 2 m."""

    @property
    def succeeded(self) -> bool:
        """Whether the goal was reached."""
        return self.outcome == "success"

    @property
    def spl(self) -> float:
        """Success weighted by path length, S l / max(p, l) (Anderson et al. 2018, arXiv 1807.06757).

        l ends where the success radius begins, as the robot's way p does.
        """
        shortest = max(self.shortest - SUCCESS_RADIUS, 0.0)
        if not self.succeeded or not math.isfinite(shortest):
            return 0.0
        longest = max(self.path_length, shortest)
        return shortest / longest if longest > 0.0 else 1.0


def wilson_interval(successes: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson 1927); 95 % unless told.

    Args:
        successes: How often it happened.
        count: Out of how many.
        z: Quantile of the normal distribution.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If there are no trials or more successes than trials.
    """
    if count < 1 or not 0 <= successes <= count:
        raise ValueError(f"{successes} successes of {count} trials have no rate.")
    rate, square = successes / count, z * z / count
    middle = (rate + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(rate * (1 - rate) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def summarize(episodes: list[Episode], **labels: str | int) -> dict:
    """One row of a results table.

    Args:
        episodes: Episodes of one policy on one task.
        **labels: What the row is about, such as policy, task, physics, seed; they come first.

    Returns:
        The labels, the number of episodes and: SR with its Wilson interval, CR, TO (rates in [0, 1]), SPL, WTT (mean
        time of the successes [s] / SR, as MM-Nav's figures suggest; None without a success) and mean clearance [m].
    """
    count = len(episodes)
    share = {o: sum(e.outcome == o for e in episodes) / count for o in OUTCOMES}
    times = [e.time for e in episodes if e.succeeded]
    low, high = wilson_interval(len(times), count)
    return {
        **labels,
        "episodes": count,
        "SR": round(share["success"], 4),
        "SR_low": round(low, 4),
        "SR_high": round(high, 4),
        "CR": round(share["collision"], 4),
        "TO": round(share["time_out"], 4),
        "SPL": round(sum(e.spl for e in episodes) / count, 4),
        "WTT": round(sum(times) / len(times) / share["success"], 3) if times else None,
        "clearance": round(sum(e.clearance for e in episodes) / count, 4),
    }


def as_record(episode: Episode, **labels: str | int) -> dict:
    """One line of ``episodes.jsonl``: the labels, the episode and its SPL; an unknown shortest way is None."""
    record = {**labels, **asdict(episode), "spl": round(episode.spl, 4)}
    if not math.isfinite(episode.shortest):
        record["shortest"] = None
    return record
