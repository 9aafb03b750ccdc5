"""The one look of all progress bars."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(console: Console, *, live: bool, transient: bool = False) -> Progress:
    """A bar with what is done, a ``status`` field, and the time gone and to go.

    Args:
        console: Where.
        live: Whether to show anything.
        transient: Whether it goes away when it stops.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
        TextColumn("<"),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        disable=not live,
    )
