"""Evaluation: episodes, metrics with intervals, tables and files."""

from .metrics import OUTCOMES, SUCCESS_RADIUS, Episode, as_record, summarize, wilson_interval
from .report import FinishedParts, results_table, write_results

__all__ = [
    "OUTCOMES",
    "SUCCESS_RADIUS",
    "Episode",
    "FinishedParts",
    "as_record",
    "results_table",
    "summarize",
    "wilson_interval",
    "write_results",
]
