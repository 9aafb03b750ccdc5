"""Learning curves are read back as they were logged."""

from __future__ import annotations

import sys

import pytest
from torch.utils.tensorboard import SummaryWriter

from mmnav.errors import UserError
from mmnav.evaluate import curves


def log(folder, rows):
    with SummaryWriter(folder) as writer:
        for iteration, success, minutes in rows:
            writer.add_scalar("Validation/SR", success, iteration)
            writer.add_scalar("Validation/CR", 1.0 - success, iteration)
            writer.add_scalar("Validation/TO", 0.0, iteration)
            writer.add_scalar("Validation/minutes", minutes, iteration)


def test_a_resumed_run_is_one_curve_and_its_later_entries_count(tmp_path):
    run = tmp_path / "reach" / "first"
    log(run, [(50, 0.25, 1.0), (100, 0.5, 2.0)])
    log(run, [(100, 0.625, 2.5), (150, 0.75, 3.5)])
    curve = curves.read_curve(run)
    assert (curve.task, curve.run) == ("reach", "first")
    assert curve.iterations == [50, 100, 150]
    assert curve.minutes == [1.0, 2.5, 3.5]
    assert curve.rates["SR"] == [0.25, 0.625, 0.75]
    assert curve.rates["CR"] == [0.75, 0.375, 0.25]


def test_a_folder_without_evaluations_is_refused(tmp_path):
    with pytest.raises(UserError, match="no evaluation is logged"):
        curves.read_curve(tmp_path)


def test_the_command_draws_a_panel_a_task_and_prints_a_row_a_run(tmp_path, monkeypatch, capsys):
    for task, run in (("reach", "a"), ("reach", "b"), ("avoid", "c")):
        log(tmp_path / task / run, [(50, 0.25, 1.0), (100, 0.75, 2.0)])
    runs = [str(path) for path in sorted(tmp_path.glob("*/*"))]
    monkeypatch.setattr(sys, "argv", ["curves", *runs, "--out", str(tmp_path / "curves.png")])
    curves.main()
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert capsys.readouterr().out.count("75.0") >= 3
