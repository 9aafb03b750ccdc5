"""Report of a distillation: ``python -m mmnav.distill.report logs/distill/nano_seed0``.

Makes one HTML page with its pictures and videos beside it; it opens from disk, needs nothing else and no network. A run
writes it with videos of its worst episodes; the command above writes it again from ``results.json`` and keeps those.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from ..errors import UserError, run_main
from ..evaluate.video import Recording, write_video
from ..files import completing, write_atomically
from ..rig import DEPTH_RIG
from .balance import FLOOR
from .figures import MOST_MAPS, colors_of, draw_proportion, draw_success, draw_trajectories
from .results import best_stage, mean_success

_DPI = 110
_MEASURES = ("SR", "CR", "TO", "SPL", "WTT")
_NONE = "&ndash;"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 1280px; margin: 2em auto;
       padding: 0 1.2em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd; }
img { max-width: 100%; } video { width: 100%; background: #eee; }
figure { margin: 1em 0; } figcaption, .note, small { color: #555; } figcaption, .note { font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 6px; text-align: right; vertical-align: top; white-space: nowrap;
         border-bottom: 1px solid #e4e4e4; }
th:first-child, td:first-child { text-align: left; } th.scene { text-align: center; border-bottom-width: 3px; }
.first { border-left: 1px solid #ccc; } tr.best { background: #fff6d8; } tr.experts td { border-top: 2px solid #888; }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); gap: 1em; }
.videos figure { margin: 0; } pre { font-size: 12px; background: #f6f6f6; padding: 1em; overflow-x: auto; }
"""


def write_report(folder: Path, results: dict, recordings: list[Recording]) -> Path:
    """Writes the report of a run: pictures and videos first, the page last, each complete or not there.

    Args:
        folder: Where to; made if it is not there.
        results: What the run keeps in ``results.json``; at least one stage is done.
        recordings: Episodes to show. If there are none, those of an earlier report in the folder stay.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    best = best_stage(results)
    _save(folder / "success.png", draw_success(results, best))
    _save(folder / "proportion.png", draw_proportion(results))
    if recordings:
        _write_recordings(folder, recordings)
    parts = [
        _summary(results, best),
        _success(results, best),
        _proportion(results),
        _episodes(folder),
        _origin(results),
    ]
    title = escape(f"Distillation of {', '.join(results['families'])}, seed {results['seed']}")
    text = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{''.join(parts)}</body>\n</html>\n"
    )
    page = folder / "report.html"
    write_atomically(page, text.encode("ascii", "xmlcharrefreplace").decode())  # the same bytes in every locale
    return page


def read_results(path: Path) -> dict:
    """Reads a run's ``results.json``.

    Raises:
        UserError: If it is not there, is no JSON, lacks what a report needs, or no stage is done yet.
    """
    try:
        results = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the folder of a run of distill.py.") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: it cannot be read ({error}).") from error
    try:
        lists = [results["experts"], *(stage["rows"] for stage in results["stages"])]
        needed = [results[name] for name in ("families", "seed", "episodes", "versions", "cfg", "lessons")]
        needed += [row[name] for rows in lists for row in rows.values() for name in (*_MEASURES, "SR_low", "SR_high")]
        needed += [rows[family] for rows in lists for family in results["families"]] if results["stages"] else []
        needed += [s[name] for s in results["stages"] for name in ("name", "demos", "steps", "seconds", "loss")]
        needed += [
            s[of][family] for s in results["stages"] for of in ("gaps", "shares") for family in results["families"]
        ]
    except KeyError as error:
        raise UserError(f"{path}: {error} is missing; these are not the results of distill.py.") from error
    except (TypeError, AttributeError) as error:
        raise UserError(f"{path}: these are not the results of distill.py ({error}).") from error
    if not results["stages"]:
        raise UserError(f"{path}: no stage of the run is done yet; let it go on.")
    return results


def _save(path: Path, figure: Figure) -> None:
    """Writes a picture."""
    with completing(path) as part:
        figure.savefig(part, dpi=_DPI)


def _write_recordings(folder: Path, recordings: list[Recording]) -> None:
    """Writes the maps, a video each, and ``recordings.json``, which says what they show; drops older videos."""
    _save(folder / "trajectories.png", draw_trajectories(recordings))
    told = []
    for number, recording in enumerate(recordings, 1):
        video = f"episode_{number:02d}.mp4"
        write_video(folder / video, [recording], DEPTH_RIG.max_range)
        shown = {name: getattr(recording, name) for name in ("title", "outcome", "seconds")}
        told.append({"video": video, **shown})
    write_atomically(folder / "recordings.json", json.dumps(told, indent=2) + "\n")
    for old in set(folder.glob("episode_*.mp4")) - {folder / entry["video"] for entry in told}:
        old.unlink()


def _summary(results: Mapping, best: int) -> str:
    """What came of it, in two sentences."""
    stages, families = results["stages"], results["families"]
    stage = stages[best]
    told = ", ".join(
        f"{escape(name)} {_percent(stage['rows'][name]['SR'])} % (expert {_percent(results['experts'][name]['SR'])} %)"
        for name in families
    )
    seconds = sum(stage["seconds"] for stage in stages)
    return (
        f"<p>The best student is that of <b>{escape(stage['name'])}</b>: {told}. "
        f"The lessons took {_duration(results['lessons']['seconds'])}, and {len(stages)} "
        f"stage{'s' * (len(stages) > 1)} {_duration(seconds)}.</p>\n"
    )


def _success(results: Mapping, best: int) -> str:
    """Success as a picture, and all measures as a table."""
    scenes, stages = colors_of(results), results["stages"]
    units = {"WTT": "s"}
    head = "".join(
        f'<th class="scene first" colspan="{len(_MEASURES)}" style="border-bottom-color: {color}">{escape(name)}</th>'
        for name, color in scenes.items()
    )
    names = [f"<th{_first(name)}>{name} [{units.get(name, '%')}]</th>" for name in _MEASURES]
    lines = [_line(results, stage["name"], stage["rows"], i == best) for i, stage in enumerate(stages)]
    lines.append(_line(results, "experts", results["experts"]))
    return (
        "<h2>Success</h2>\n"
        + _picture("success.png", "Success after every stage with 95 % Wilson intervals; dashed: the experts.")
        + f'<div class="scroll"><table class="success">\n<tr><th></th><th>mean</th>{head}</tr>\n'
        + f"<tr><th>stage</th><th>SR [%]</th>{''.join(names) * len(scenes)}</tr>\n{''.join(lines)}</table></div>\n"
        + f'<p class="note">{results["episodes"]} episodes of each scene, on layouts that nothing was learned on, but '
        "that the best stage is chosen by: the one with the highest mean SR over "
        f"{escape(', '.join(results['families']))}. SR success (small: its 95 % interval), CR collisions, "
        "TO time-outs, SPL success weighted by path length, WTT mean time of the successes divided by SR.</p>\n"
    )


def _line(results: Mapping, name: str, rows: Mapping, best: bool = False) -> str:
    """A line of the table of measures: a stage's, or the experts'."""
    cells = []
    for scene in colors_of(results):
        cells += [f"<td{_first(measure)}>{_measure(rows[scene], measure)}</td>" for measure in _MEASURES]
    mean = _percent(mean_success(rows))
    star = " &#9733; best" * best
    kind = ' class="best"' * best + ' class="experts"' * (rows is results["experts"])
    return f"<tr{kind}><td>{escape(name)}{star}</td><td><b>{mean}</b></td>{''.join(cells)}</tr>\n"


def _measure(row: Mapping, name: str) -> str:
    """A measure as it is printed; success with its interval below."""
    if name == "WTT":
        return _NONE if row["WTT"] is None else f"{row['WTT']:.1f}"
    if name == "SR":
        return f"{_percent(row['SR'])}<br><small>{_percent(row['SR_low'])}&ndash;{_percent(row['SR_high'])}</small>"
    return _percent(row[name])


def _proportion(results: Mapping) -> str:
    """Gaps and shares as a picture; with time and samples as a table."""
    families, stages = results["families"], results["stages"]
    lines = []
    for stage in stages:
        cells = [escape(stage["name"]), _duration(stage["seconds"]), f"{stage['demos']:,}", f"{stage['steps']:,}"]
        cells.append(f"{stage['loss']:.4f}" if stage["loss"] == stage["loss"] else _NONE)  # NaN: nothing was trained
        cells += [_percent(stage["shares"][name]) for name in families]
        cells += [f"{stage['gaps'][name]:.2f}" for name in families]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n")
    names = [f"share {name} [%]" for name in families] + [f"gap {name}" for name in families]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("stage", "time", "episodes", "steps", "loss", *names))
    caption = (
        "Left the gaps that every stage left, WTT of the student / WTT of the expert - 1 (dashed: their floor, "
        f"{FLOOR:g}; hollow: at it or below). Right the capabilities' shares of the data of every stage."
    )
    return (
        "<h2>Balance, time and samples</h2>\n"
        + _picture("proportion.png", caption)
        + f'<div class="scroll"><table class="stages">\n<tr>{head}</tr>\n{"".join(lines)}</table></div>\n'
        + '<p class="note">Episodes and control steps are those that the stage learned from. What was interrupted, '
        "the lessons too, has the time since the run was last started.</p>\n"
    )


def _episodes(folder: Path) -> str:
    """Maps and videos of the episodes that this report, or an earlier one in the folder, was given."""
    told = folder / "recordings.json"
    if not told.is_file():
        return ""
    entries = json.loads(told.read_text())
    films = []
    for entry in entries:
        ended = f"{entry['title']}: {entry['outcome'].replace('_', '-')} after {entry['seconds']:.1f} s"
        film = f'<video controls preload="metadata" src="{escape(entry["video"])}"></video>'
        films.append(f"<figure>{film}<figcaption>{escape(ended)}</figcaption></figure>\n")
    first = f" The first {MOST_MAPS} of {len(entries)} episodes." if len(entries) > MOST_MAPS else ""
    caption = (
        "Maps from above [m]: the way from the white dot, the robot to scale and the movers where they were at the "
        f"end; star: the goal.{first}"
    )
    return f'<h2>Episodes</h2>\n{_picture("trajectories.png", caption)}<div class="videos">\n{"".join(films)}</div>\n'


def _origin(results: Mapping) -> str:
    """Where the results come from: command, versions, configuration."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    command = f"<pre>{escape(results['command'])}</pre>\n" if results.get("command") else ""
    cfg = escape(json.dumps(results["cfg"], indent=2))
    return (
        f"<h2>Origin</h2>\n{command}<p>Seed {escape(str(results['seed']))}; {escape(versions)}.</p>\n"
        f"<details><summary>Configuration</summary><pre>{cfg}</pre></details>\n"
    )


def _picture(name: str, caption: str) -> str:
    return f'<figure><img src="{name}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>\n'


def _first(measure: str) -> str:
    return ' class="first"' if measure == _MEASURES[0] else ""


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def main() -> None:
    """Parses the command line, reads the run, writes its report."""
    parser = argparse.ArgumentParser(prog="python -m mmnav.distill.report", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of distill.py")
    args = parser.parse_args()
    page = write_report(args.run / "report", read_results(args.run / "results.json"), [])
    print(f"Wrote {page}.")


if __name__ == "__main__":
    run_main(main)
