"""What a distillation shows: a live bar on a terminal, a line a stage in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console

from ..progress import progress_bar

_SECONDS_BETWEEN_LINES = 60.0


@dataclass
class Bar:
    """One bar."""

    to: Callable
    """Called with how much is done, and optionally with what to say beside it."""


class Display:
    """Shows the progress of a run's parts, one after the other."""

    def __init__(self, quiet: bool = False):
        """A quiet one shows nothing: for all processes but the first, and for tests."""
        self._console = Console(soft_wrap=True, quiet=quiet)
        self._began = time.perf_counter()

    def say(self, text: str) -> None:
        """Prints a line with the run's minutes before it."""
        minutes = (time.perf_counter() - self._began) / 60.0
        self._console.print(f"{minutes:5.1f} min  {text}", highlight=False)

    @contextlib.contextmanager
    def bar(self, name: str, total: int) -> Iterator[Bar]:
        """A bar for a part of ``total`` units; in a log a line a minute and one at the end."""
        live = self._console.is_terminal and not self._console.quiet
        progress = progress_bar(self._console, live=live, transient=True)
        row = progress.add_task(name, total=total, status="")
        told, done = time.perf_counter(), [0, ""]

        def to(count: int, status: str = "") -> None:
            nonlocal told
            done[:] = count, status
            progress.update(row, completed=count, status=status)
            if not live and time.perf_counter() - told > _SECONDS_BETWEEN_LINES:
                told = time.perf_counter()
                self.say(f"{name} {count:,}/{total:,}  {status}")

        began = time.perf_counter()
        with progress:
            yield Bar(to)
        self.say(f"{name}: {done[0]:,} in {time.perf_counter() - began:.0f} s  {done[1]}")
