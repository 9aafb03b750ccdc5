"""Results on the terminal and on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import fields
from pathlib import Path

from rich.table import Table

from ..files import write_atomically
from .metrics import Episode


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


class FinishedParts:
    """What an interrupted evaluation had finished, part by part, so that the same call goes on with it.

    A part's file is named after what its caller says it is about, which should be all that decides on its episodes: a
    part about anything else is not found.
    """

    def __init__(self, folder: Path):
        """Keeps them in ``parts`` in a folder."""
        self._folder = folder / "parts"

    def get(self, **about: object) -> list[Episode] | None:
        """The episodes of a part; None if it was not finished."""
        try:
            records = json.loads(self._path(about).read_text())
        except (OSError, ValueError):
            return None
        return [Episode(**{f.name: record[f.name] for f in fields(Episode)}) for record in records]

    def put(self, part: list[Episode], /, **about: object) -> None:
        """Keeps a part."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(about), json.dumps([vars(episode) for episode in part]))

    def clear(self) -> None:
        """Forgets them all: the results are written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, about: dict) -> Path:
        words = json.dumps(about, sort_keys=True)
        return self._folder / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"
