"""An export is what lerobot itself reads back; without lerobot, one line says what is missing."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from drives import drive

from mmnav.data.lerobot import TASKS, check_export, dataset_features, export_lerobot, frame_rate
from mmnav.errors import UserError
from mmnav.robot import VIEWS
from mmnav.scenes import SCENES

needs_lerobot = pytest.mark.skipif(importlib.util.find_spec("lerobot") is None, reason="lerobot is not installed")

pytestmark = pytest.mark.integration

SIZE = (24, 16)
LENGTHS = {("Reach", 1): 7, ("Avoid", 2): 40, ("Squeeze", 3): 2, ("Reach", 4): 11}


@pytest.fixture(scope="module")
def demos() -> list:
    return [drive(family, layout, steps) for (family, layout), steps in LENGTHS.items()]


@pytest.fixture(scope="module")
def dataset(demos, tmp_path_factory):
    """The export, opened by lerobot."""
    datasets = pytest.importorskip("lerobot.datasets")
    folder = tmp_path_factory.mktemp("export") / "drives"
    steps = []
    export_lerobot(demos, folder, SIZE, seed=3, on_step=lambda: steps.append(1))
    assert len(steps) == sum(LENGTHS.values())
    assert [path.name for path in folder.parent.iterdir()] == ["drives"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        return datasets.LeRobotDataset("mmnav/drives", root=folder)


def test_lerobot_counts_what_was_exported(dataset):
    assert dataset.meta.info.codebase_version == "v3.0"
    assert dataset.num_episodes == len(LENGTHS) and len(dataset) == sum(LENGTHS.values()) and dataset.fps == 10
    assert set(dataset_features(*SIZE)) <= set(dataset.meta.features)
    assert set(dataset.meta.tasks.index) == {TASKS[name] for name in ("Reach", "Avoid", "Squeeze")}


def test_every_item_is_what_was_recorded(dataset, demos):
    """In random order; numbers to the bit, images to the grey level."""
    from mmnav.data.pixels import render_episodes

    images = list(render_episodes(demos, SIZE, seed=3))
    where = [(episode, t) for episode, demo in enumerate(demos) for t in range(len(demo))]
    for i in np.random.default_rng(0).permutation(len(where)):
        item, (episode, t) = dataset[int(i)], where[i]
        demo = demos[episode]
        assert (int(item["episode_index"]), int(item["frame_index"])) == (episode, t)
        assert float(item["timestamp"]) == pytest.approx(0.1 * t, abs=1e-4) and item["task"] == TASKS[demo.family]
        for name, value in (
            ("observation.state", demo.velocity),
            ("observation.environment_state", demo.goal),
            ("action", demo.expert_action),
        ):
            assert np.array_equal(item[name].numpy(), value[t]), name
        for v, name in enumerate(VIEWS):
            found = (item[f"observation.images.{name}"] * 255).round().to(torch.uint8).permute(1, 2, 0)
            assert np.array_equal(found.numpy(), images[i][v]), name


@needs_lerobot
def test_an_export_that_fails_leaves_nothing(demos, tmp_path):
    def fail():
        raise OSError("no space left")

    with pytest.raises(UserError, match="export: cannot be written"):
        export_lerobot(demos, tmp_path / "export", SIZE, on_step=fail)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(demos, tmp_path):
    (tmp_path / "precious").write_text("text")
    with pytest.raises(UserError, match="is there already; name another folder"):
        export_lerobot(demos, tmp_path, SIZE)
    assert (tmp_path / "precious").read_text() == "text"


@pytest.mark.skipif(importlib.util.find_spec("lerobot") is not None, reason="lerobot is installed")
def test_without_lerobot_one_line_says_what_to_install(tmp_path):
    with pytest.raises(UserError, match=r"needs the package lerobot.*make another environment.*\[lerobot\]"):
        check_export(tmp_path / "export")


def test_every_family_has_a_task_of_its_own():
    assert set(TASKS) == set(SCENES) and len(set(TASKS.values())) == len(SCENES)


def test_the_rate_is_that_of_all_episodes(demos):
    slower = replace(demos[0], time=2 * demos[0].time)
    assert frame_rate(demos) == 10 and frame_rate([slower]) == 5
    assert frame_rate([drive("Reach", 1, 1), slower]) == 5
    for bad in ([slower, demos[1]], [drive("Reach", 1, 1)]):
        with pytest.raises(UserError, match="steps a second; it must be one number"):
            frame_rate(bad)
