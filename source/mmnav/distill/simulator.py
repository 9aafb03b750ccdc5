"""Simulator: what a distillation asks of the place where the robots are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..data import Demo
from ..evaluate import Episode
from ..vla import MMNavForAction, MMNavProcessor


class Simulator(Protocol):
    """Where the robots are: the tasks on the simulator's side of the house."""

    families: Sequence[str]
    """Names of the capabilities, in the order of their experts."""

    def collect(
        self,
        shares: Sequence[float],
        steps: int,
        *,
        student: tuple[MMNavForAction, MMNavProcessor] | None,
        mixing: float,
        disturbance: float,
        round_index: int,
        pixels: bool,
        on_step: Callable[[int], None],
    ) -> list[Demo]:
        """Rolls out, every step labelled by the capability's expert; experts drive if there is no student."""
        ...

    def evaluate(
        self, student: tuple[MMNavForAction, MMNavProcessor] | None, episodes: int, on_step: Callable[[int], None]
    ) -> dict[str, list[Episode]]:
        """Episodes of each capability on layouts that nothing was learned on; of the experts if there is no student."""
        ...
