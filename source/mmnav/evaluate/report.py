"""Results on the terminal and on disk."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from ..files import write_atomically


def results_table(rows: list[dict], title: str | None = None) -> Table:
    """A table of rows from :func:`mmnav.evaluate.metrics.summarize`, rates in percent."""
    table = Table(title=title, title_justify="left")
    labels = [k for k in ("policy", "task", "physics", "seed") if any(k in row for row in rows)]
    for label in labels:
        table.add_column(label)
    for column in ("episodes", "SR [%]", "95 % interval", "CR [%]", "TO [%]", "SPL [%]", "WTT [s]", "clearance [m]"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            *(str(row.get(label, "")) for label in labels),
            str(row["episodes"]),
            f"{100 * row['SR']:.1f}",
            f"{100 * row['SR_low']:.1f} to {100 * row['SR_high']:.1f}",
            *(f"{100 * row[name]:.1f}" for name in ("CR", "TO", "SPL")),
            "-" if row["WTT"] is None else f"{row['WTT']:.1f}",
            f"{row['clearance']:.2f}",
        )
    return table


def write_results(folder: Path, rows: list[dict], records: list[dict]) -> None:
    """Writes ``summary.json`` (a list of rows) and ``episodes.jsonl`` (a line an episode) into a folder."""
    write_atomically(folder / "episodes.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    write_atomically(folder / "summary.json", json.dumps(rows, indent=2) + "\n")
