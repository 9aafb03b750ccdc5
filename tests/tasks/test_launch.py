"""Users' words: what is accepted, and what is refused with which words."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from mmnav.errors import UserError
from mmnav_tasks import launch


@pytest.mark.parametrize("word", ["Squeeze", "squeeze", "Mmnav-Squeeze", "mmnav-squeeze"])
def test_a_task_is_known_by_its_short_name_and_its_id(word):
    assert launch.task_name(word) == "Squeeze"


def test_an_unknown_task_lists_the_known_ones_and_guesses():
    with pytest.raises(UserError, match="there are Reach, Squeeze, Avoid, Mixed. Did you mean Avoid?"):
        launch.task_name("Avoide")


def test_isaac_sim_is_asked_for_before_anything_starts(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs Isaac Sim"):
        launch.physics_name("isaacsim_physx")


def test_a_full_disk_is_noticed_first(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=1, f_frsize=4096))
    with pytest.raises(UserError, match="less than 50 MB are free"):
        launch.writable_folder("--out", tmp_path)


def test_a_folder_is_made_and_left_empty(tmp_path):
    folder = launch.writable_folder("--out", tmp_path / "a" / "b")
    assert folder.is_dir() and not list(folder.iterdir())


@pytest.mark.parametrize("value", [0, -3])
def test_counts_are_positive(value):
    with pytest.raises(UserError, match=f"--num_envs must be at least 1, not {value}"):
        launch.positive("--num_envs", value)
