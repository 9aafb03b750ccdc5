"""A report says what the results say, and opens from disk without anything else."""

from __future__ import annotations

import itertools
import json
import re
import sys
from html.parser import HTMLParser

import imageio.v2 as imageio
import numpy as np
import pytest

from mmnav.distill import report
from mmnav.distill.figures import MOST_MAPS, draw_proportion, draw_success, draw_trajectories
from mmnav.distill.results import best_stage
from mmnav.errors import UserError
from mmnav.evaluate.video import Recording
from mmnav.scenes import SCENES, generate

FAMILIES = ["Reach", "Squeeze", "Avoid"]
MEASURES = ("SR", "SR_low", "SR_high", "CR", "TO", "SPL")
numbers = itertools.count(1)


def rate():
    """Another rate at every call, as it is printed."""
    return next(numbers) * 7 % 1000 / 1000


def row(success):
    """A row whose numbers occur nowhere else."""
    values = {"SR": success, "SR_low": success * rate(), "SR_high": success + (1 - success) * rate()}
    return {**values, "CR": rate(), "TO": rate(), "SPL": rate(), "WTT": next(numbers) + 0.3, "clearance": 0.5}


def stage(name, successes, **more):
    rows = {family: row(success) for family, success in zip(FAMILIES, successes, strict=True)}
    gaps = {family: next(numbers) / 100 for family in FAMILIES}
    shares = {"Reach": 0.2031, "Squeeze": 0.5752, "Avoid": 0.2217}
    samples = {"demos": next(numbers) + 5000, "steps": next(numbers) + 70_000, "seconds": 366.0, "loss": 0.0123}
    return {"name": name, "rows": rows, "gaps": gaps, "shares": shares, **samples, **more}


@pytest.fixture
def results():
    stages = [
        stage("stage 1", (0.63, 0.0, 0.4)),
        stage("iteration 1", (0.8, 0.7, 0.6)),
        stage("iteration 2", (0.9, 0.5, 0.6)),
    ]
    stages[0]["rows"]["Squeeze"]["WTT"] = None
    experts = {family: row(0.9) for family in FAMILIES}
    return {
        "families": FAMILIES, "seed": 3, "episodes": 64, "versions": {"torch": "2.11.0"},
        "command": "distill.py --scale nano", "cfg": {"robots": 17, "online": {"lr": 0.001}},
        "experts": experts, "lessons": {"seconds": 1983.0}, "stages": stages,
    }  # fmt: skip


def recording(colour, family="Avoid", steps=2, title="an episode"):
    scene = generate(SCENES[family](), np.array([3]))
    pose = np.repeat(scene.start.numpy(), steps, 0)
    pose[:, 0] += np.linspace(0.0, 1.0, steps)
    geoms = np.repeat(scene.position.numpy(), steps, 0)
    rgb = np.full((steps, 4, 3, 4, 16), 100, np.uint8) if colour else None
    depth = np.full((steps, 4, 32), 3.0)
    return Recording(title, scene, pose, geoms, depth, "collision", 0.5, 0.0, 0.5 * steps, rgb)


class Page(HTMLParser):
    """A page's tables as lists of texts, and the files that it names."""

    def __init__(self, path):
        super().__init__()
        self.tables, self.files, self.open = {}, [], []
        self.text = path.read_text(encoding="ascii")
        self.feed(self.text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.files += [attrs[name] for name in ("src", "href") if name in attrs]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables[attrs["class"]] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "tr" in self.open and self.open[-1] in ("td", "th", "small", "b"):
            self.rows[-1][-1] += data if self.open[-1] != "small" else f" {data}"


def cells(row):
    percent = {name: f"{100 * row[name]:.1f}" for name in MEASURES}
    rate = f"{percent['SR']} {percent['SR_low']}–{percent['SR_high']}"
    time = "–" if row["WTT"] is None else f"{row['WTT']:.1f}"
    return [rate, *(percent[name] for name in ("CR", "TO", "SPL")), time]


def mean(rows):
    return f"{sum(100 * rows[family]['SR'] for family in FAMILIES) / 3:.1f}"


def test_the_table_holds_every_measure_of_every_stage_and_the_experts_in_its_place(tmp_path, results):
    table = Page(report.write_report(tmp_path, results, [])).tables["success"]
    assert table[0] == ["", "mean", *FAMILIES]
    assert len(table) == 2 + 3 + 1
    for line, of in zip(table[2:], [*results["stages"], {"name": "experts", "rows": results["experts"]}], strict=True):
        expected = [cell for family in FAMILIES for cell in cells(of["rows"][family])]
        assert line[0].startswith(of["name"])
        assert line[1:] == [mean(of["rows"]), *expected]


def test_the_table_of_stages_holds_time_samples_shares_and_gaps(tmp_path, results):
    table = Page(report.write_report(tmp_path, results, [])).tables["stages"]
    for line, of in zip(table[1:], results["stages"], strict=True):
        gaps = [f"{of['gaps'][family]:.2f}" for family in FAMILIES]
        assert line == [
            of["name"], "6.1 min", f"{of['demos']:,}", f"{of['steps']:,}", "0.0123", "20.3", "57.5", "22.2", *gaps
        ]  # fmt: skip


def test_the_best_stage_has_the_highest_mean_success_and_is_marked_once(tmp_path, results):
    assert best_stage(results) == 1
    table = Page(report.write_report(tmp_path, results, [])).tables["success"]
    assert [line[0] for line in table if "best" in line[0]] == ["iteration 1 ★ best"]


def test_the_first_of_equally_good_stages_is_the_best(results):
    results["stages"] = [stage(str(i), (0.5, 0.5, 0.5)) for i in range(3)]
    assert best_stage(results) == 0


def test_a_run_with_one_stage_has_a_report(tmp_path, results):
    results["stages"] = results["stages"][:1]
    page = Page(report.write_report(tmp_path, results, []))
    assert "The lessons took 33.0 min, and 1 stage 6.1 min." in page.text
    assert page.files == ["success.png", "proportion.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proportion.png", "report.html", "success.png"]


def test_gaps_may_be_below_the_floor(tmp_path, results):
    results["stages"][1]["gaps"] = {"Reach": -0.4, "Squeeze": 20.0, "Avoid": 0.1}
    line = Page(report.write_report(tmp_path, results, [])).tables["stages"][2]
    assert line[-3:] == ["-0.40", "20.00", "0.10"]


def test_a_loss_that_is_no_number_is_a_dash(tmp_path, results):
    results["stages"][0]["loss"] = float("nan")
    assert Page(report.write_report(tmp_path, results, [])).tables["stages"][1][4] == "–"


def test_all_words_are_escaped(tmp_path, results):
    nasty = "<b>&\"'<script>"
    results = json.loads(json.dumps(results).replace("Reach", json.dumps(nasty)[1:-1]))
    results["command"] = results["versions"]["torch"] = results["cfg"]["x"] = results["stages"][0]["name"] = nasty
    page = Page(report.write_report(tmp_path, results, [recording(True, title=f"{nasty} $\\no{{formula$")]))
    assert "<script" not in page.text and "<b>&" not in page.text
    assert page.tables["success"][0][2] == page.tables["success"][2][0] == nasty


def test_a_page_is_the_same_bytes_in_every_locale(tmp_path, results):
    results["command"] = "Größe — 走"
    page = report.write_report(tmp_path, results, [])
    assert page.read_bytes().isascii()
    assert "Gr&#246;&#223;e" in page.read_text()


def test_a_page_names_only_files_beside_it(tmp_path, results):
    page = Page(report.write_report(tmp_path / "run" / "report", results, [recording(True), recording(False)]))
    assert page.files == ["success.png", "proportion.png", "trajectories.png", "episode_01.mp4", "episode_02.mp4"]
    for name in page.files:
        assert (tmp_path / "run" / "report" / name).stat().st_size > 1000
    assert not re.search(r"https?:|file:|url\(|@import|//\w", page.text)
    assert str(tmp_path) not in page.text


def test_pictures_and_videos_show_something_with_colour_and_without(tmp_path, results):
    report.write_report(tmp_path, results, [recording(True), recording(False, "Squeeze"), recording(True, steps=1)])
    for name in ("success", "proportion", "trajectories"):
        picture = imageio.imread(tmp_path / f"{name}.png")[..., :3]
        assert picture.std() > 10 and picture.shape[1] < 1800
    for number, count in ((1, 2), (2, 2), (3, 1)):
        with imageio.get_reader(tmp_path / f"episode_{number:02d}.mp4") as reader:
            frames = [frame for frame in reader]  # a reader has no length
        assert len(frames) == count + 2
        assert frames[0].std() > 10
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_success_is_drawn_with_its_interval_and_the_expert_in_the_same_colour(results):
    axes = draw_success(results, 1).axes[0]
    for family, drawn in zip(FAMILIES, axes.containers, strict=True):
        rows = [of["rows"][family] for of in results["stages"]]
        np.testing.assert_allclose(drawn[0].get_ydata(), [100 * r["SR"] for r in rows])
        ends = [segment[:, 1] for segment in drawn[2][0].get_segments()]
        np.testing.assert_allclose(ends, [(100 * r["SR_low"], 100 * r["SR_high"]) for r in rows])
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [90.0] * 3
    assert [line.get_color() for line in dashed] == [c[0].get_color() for c in axes.containers]


def test_gaps_stand_on_a_logarithmic_axis_with_the_floor_dashed_and_shares_are_stacked(results):
    results["stages"][2]["gaps"]["Reach"] = -0.4
    gaps, bars = draw_proportion(results).axes
    assert gaps.get_yscale() == "log"
    assert [line.get_ydata()[0] for line in gaps.lines if line.get_linestyle() == "--"] == [0.1]
    assert gaps.lines[0].get_ydata()[2] == 0.1
    tops = np.array([[bar.get_y() + bar.get_height() for bar in container] for container in bars.containers])
    np.testing.assert_allclose(tops[:, 0], [20.31, 77.83, 100.0])


@pytest.mark.parametrize("count", [1, 2, 4, 7, MOST_MAPS + 1])
def test_every_recording_up_to_the_most_has_a_map_with_its_title_and_outcome(count):
    figure = draw_trajectories([recording(True, title=f"episode {i} of $many$") for i in range(count)])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"episode {i} of $many$\ncollision after 1.0 s" for i in range(min(count, MOST_MAPS))]


def test_maps_show_movers_where_they_were_at_the_end():
    shown = recording(True)
    shown.geom_position[-1] += (0.5, 0.25, 0.0)
    first, last = (draw_trajectories([r]).axes[0].patches[4].get_xy() for r in (recording(True), shown))
    np.testing.assert_allclose(last - first, np.broadcast_to((0.5, 0.25), last.shape), atol=1e-6)


def test_a_new_report_replaces_the_videos_of_an_older_one(tmp_path, results):
    report.write_report(tmp_path, results, [recording(False), recording(False)])
    page = Page(report.write_report(tmp_path, results, [recording(False, title="another")]))
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["episode_01.mp4"]
    assert "another" in page.text and "an episode" not in page.text


def run_main(monkeypatch, folder):
    monkeypatch.setattr(sys, "argv", ["report", str(folder)])
    report.main()


def test_the_command_writes_the_same_page_again_and_keeps_the_videos(tmp_path, results, monkeypatch, capsys):
    page = report.write_report(tmp_path / "report", results, [recording(True)])
    before, video = page.read_bytes(), (page.parent / "episode_01.mp4").stat()
    page.unlink()
    (tmp_path / "results.json").write_text(json.dumps(results))
    run_main(monkeypatch, tmp_path)
    assert page.read_bytes() == before
    assert (page.parent / "episode_01.mp4").stat() == video
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["", "[]", "{}", "{", '{"experts": {}, "stages": 3}', "\x00"])
def test_the_command_refuses_what_is_no_results_file_in_one_line(tmp_path, monkeypatch, broken):
    (tmp_path / "results.json").write_text(broken)
    with pytest.raises(UserError, match="results.json") as refused:
        run_main(monkeypatch, tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "report").exists()


def test_the_command_refuses_a_folder_without_results_and_a_run_without_a_stage(tmp_path, results, monkeypatch):
    with pytest.raises(UserError, match="no such file"):
        run_main(monkeypatch, tmp_path / "nothing")
    (tmp_path / "results.json").write_text(json.dumps({**results, "stages": [], "experts": {}}))
    with pytest.raises(UserError, match="no stage of the run is done"):
        run_main(monkeypatch, tmp_path)


@pytest.mark.parametrize("lacking", ["SR", "WTT", "shares", "gaps", "name", "Squeeze", "lessons"])
def test_the_command_says_what_a_results_file_lacks(tmp_path, results, monkeypatch, lacking):
    def without(value):
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items() if k != lacking}
        return [without(v) for v in value] if isinstance(value, list) else value

    (tmp_path / "results.json").write_text(json.dumps(without(results)))
    with pytest.raises(UserError, match=f"'{lacking}' is missing"):
        run_main(monkeypatch, tmp_path)
