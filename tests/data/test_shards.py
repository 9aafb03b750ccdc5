"""Shards: what is written is read, in order; what is damaged is named; what was there stays."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from numbered import assert_same, numbered_demo

import mmnav.data.shards as shards
from mmnav.data import Frames, ShardWriter, merge, read_demos, read_index, verify
from mmnav.data.demo import FORMAT
from mmnav.data.shards import INDEX, read_episode, read_headings, read_shard, shard_paths
from mmnav.errors import UserError

pytestmark = pytest.mark.unit

ENV = {"env_name": "Numbered", "versions": {"mmnav": "0"}}


def write(folder: Path, numbers, episodes_a_shard: int = 3, **how) -> Path:
    """Writes numbered episodes to a folder."""
    with ShardWriter(folder, ENV, episodes_a_shard=episodes_a_shard, **how) as writer:
        for number in numbers:
            writer.write(numbered_demo(number, steps=3 + number % 5, pixels=number % 2 == 1))
    return folder


def numbers_in(path: Path) -> list[int]:
    """Numbers of the episodes, in the order in which they are read."""
    return [demo.layout // 7 for demo in read_demos(path)]


def problems(folder: Path) -> dict[str, str]:
    return {verdict.path.name: verdict.problem for verdict in verify(folder) if verdict.problem}


def notes(folder: Path) -> dict[str, str]:
    return {verdict.path.name: verdict.note for verdict in verify(folder) if verdict.note}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight episodes in three shards."""
    return write(tmp_path / "episodes", range(8))


# -- what is written is read


def test_every_value_comes_back_at_its_place(folder):
    found = list(read_demos(folder, pixels=True))
    assert len(found) == 8
    for number, demo in enumerate(found):
        assert_same(demo, numbered_demo(number, steps=3 + number % 5, pixels=number % 2 == 1))


def test_images_are_read_only_if_asked_for(folder):
    assert all(demo.pixels is None for demo in read_demos(folder))


def test_episodes_are_in_the_order_of_their_numbers_not_of_their_names(tmp_path):
    """HDF5 lists demo_10 before demo_2."""
    assert numbers_in(write(tmp_path, range(23), episodes_a_shard=12)) == list(range(23))


def test_an_episode_is_found_by_its_number(folder):
    assert [read_episode(folder, i).layout // 7 for i in (0, 2, 3, 7)] == [0, 2, 3, 7]
    for missing in (8, -1):
        with pytest.raises(UserError, match=f"there is no episode {missing}; it holds 8"):
            read_episode(folder, missing)


def test_headings_say_what_the_episodes_say(folder):
    headings = [heading for path in shard_paths(folder) for heading in read_headings(path)]
    for heading, demo in zip(headings, read_demos(folder, pixels=True), strict=True):
        assert (heading.family, heading.outcome, heading.labels) == (demo.family, demo.outcome, demo.labels)
        assert (heading.steps, heading.expert_steps) == (len(demo), demo.by_expert.sum())
        assert heading.seconds == pytest.approx(0.1 * len(demo), rel=1e-4)
        assert heading.has_pixels == (demo.pixels is not None)


def test_files_have_the_layout_of_robomimic_and_isaac_lab(folder):
    with h5py.File(folder / "shard-000-000000.h5") as file:
        assert file.attrs["format_version"] == FORMAT
        assert json.loads(file["data"].attrs["env_args"]) == {"type": 2, **ENV}
        assert file["data"].attrs["total"] == sum(len(demo["actions"]) for demo in file["data"].values())
        demo = file["data/demo_1"]
        assert demo.attrs["num_samples"] == 4 and bool(demo.attrs["success"])
        assert demo["dones"][()].tolist() == [0, 0, 0, 1]
        assert demo["states/rigid_object/robot/root_pose"].shape == (4, 7)


def test_episodes_are_acknowledged_shard_by_shard(tmp_path):
    writer = ShardWriter(tmp_path, ENV, episodes_a_shard=3)
    assert [writer.write(numbered_demo(i)) for i in range(5)] == [False, False, True, False, False]
    assert numbers_in(tmp_path) == [0, 1, 2]
    writer.flush()
    assert numbers_in(tmp_path) == [0, 1, 2, 3, 4]


def test_an_exception_keeps_what_was_acknowledged_and_nothing_else(tmp_path):
    with pytest.raises(KeyError), ShardWriter(tmp_path, ENV, episodes_a_shard=2) as writer:
        for number in range(3):
            writer.write(numbered_demo(number))
        raise KeyError
    assert numbers_in(tmp_path) == [0, 1]


def test_writers_of_several_ranks_share_a_folder(tmp_path):
    writers = [ShardWriter(tmp_path, ENV, rank=rank, episodes_a_shard=1) for rank in (0, 1, 12)]
    for number in range(6):
        writers[number % 3].write(numbered_demo(number))
    assert numbers_in(tmp_path) == [0, 3, 1, 4, 2, 5]
    assert problems(tmp_path) == {} and len(read_index(tmp_path)) == 6


def test_a_writer_goes_on_after_the_last_shard(folder):
    write(folder, range(8, 12))
    assert numbers_in(folder) == list(range(12))
    assert problems(folder) == notes(folder) == {}


def test_a_number_is_never_used_twice(folder):
    """Neither a shard that somebody removed nor one that is damaged is written over."""
    (folder / "shard-000-000002.h5").unlink()
    write(folder, [8])
    assert [path.name for path in shard_paths(folder)][-1] == "shard-000-000003.h5"
    (folder / "shard-000-000004.h5").write_bytes(b"damaged")
    write(folder, [9])
    assert (folder / "shard-000-000004.h5").read_bytes() == b"damaged" and 9 in numbers_in_sound(folder)


def numbers_in_sound(folder: Path) -> list[int]:
    return [n for path in shard_paths(folder) if path.stat().st_size > 10 for n in numbers_in(path)]


# -- what a kill leaves


def test_a_shard_that_is_renamed_but_not_indexed_is_read_and_adopted(folder):
    lines = (folder / INDEX).read_text().splitlines(keepends=True)
    (folder / INDEX).write_text("".join(lines[:-1]))
    assert numbers_in(folder) == list(range(8))
    assert problems(folder) == {} and "adopted" in notes(folder)["shard-000-000002.h5"]
    write(folder, [8])
    assert (folder / INDEX).read_text().splitlines(keepends=True)[:3] == lines
    assert notes(folder) == {}


@pytest.mark.parametrize("left", [0, 1, 30, -1])
def test_a_line_that_is_cut_off_hides_no_other(folder, left):
    """What is written next does not stick to the remains."""
    text = (folder / INDEX).read_text()
    *whole, last = text.splitlines(keepends=True)
    (folder / INDEX).write_text("".join(whole) + last[:left])
    assert len(read_index(folder)) == 2 and problems(folder) == {}
    write(folder, [8])
    assert numbers_in(folder) == list(range(9))
    assert len(read_index(folder)) == 4 and problems(folder) == notes(folder) == {}


def test_what_was_never_renamed_is_swept_away(folder):
    left = folder / ".shard-000-000009.h5"
    left.write_bytes(b"half a shard")
    others = folder / ".shard-001-000000.h5"
    others.write_bytes(b"another rank's")
    write(folder, [8])
    assert not left.exists() and others.exists()
    assert numbers_in(folder) == list(range(9))


# -- what is wrong is named


def test_an_episode_that_is_wrong_is_refused_with_the_name_of_the_field(tmp_path):
    writer = ShardWriter(tmp_path, ENV)
    cases = [
        ("goal", np.zeros((4, 3), np.float32), r"goal has shape \(4, 3\); it must be \(4, 2\)"),
        ("reward", np.array([0, 1, np.nan, 2], np.float32), "reward is not finite at step 2"),
        ("outcome", "crash", "outcome is 'crash'; it must be one of collision, success"),
        ("time", np.zeros(0, np.float32), "the episode has no step"),
        ("scene", {"half_width": 3.0}, "scene is .*; it must say its family"),
        ("pixels", [b"one"], "pixels has 1 images for 4 steps"),
    ]
    for name, value, message in cases:
        demo = numbered_demo(1)
        setattr(demo, name, value)
        with pytest.raises(ValueError, match=message):
            writer.write(demo)
    writer.flush()
    assert not list(tmp_path.glob("*.h5"))


def _replace(group: h5py.Group, path: str, value) -> None:
    del group[path]
    if value is not None:
        group[path] = value


DAMAGES = {
    "NaN": (lambda d: d["obs/velocity"].__setitem__((1, 2), np.nan), "velocity is not finite at step 1"),
    "shape": (lambda d: _replace(d, "actions", np.zeros((4, 2))), r"action has shape \(4, 2\); it must be \(4, 3\)"),
    "steps": (lambda d: _replace(d, "rewards", np.zeros(9)), r"reward has shape \(9,\); it must be \(4,\)"),
    "scalar": (lambda d: _replace(d, "obs/time", 3.0), "the episode cannot be used"),
    "text": (lambda d: _replace(d, "obs/goal", [[b"a", b"b"]] * 4), "the episode cannot be used"),
    "field": (lambda d: _replace(d, "expert_actions", None), "expert_action is missing: there is no expert_actions"),
    "attribute": (lambda d: d.attrs.__delitem__("outcome"), "outcome is missing"),
    "scene": (lambda d: d.attrs.__setitem__("scene", "{"), "the episode cannot be used"),
    "outcome": (lambda d: d.attrs.__setitem__("outcome", "crash"), "outcome is 'crash'"),
    "images": (lambda d: _replace(d, "obs/jpeg_offsets", np.arange(3)), "pixels has 2 images for 4 steps"),
    "version": (lambda d: d.file.attrs.__setitem__("format_version", 9), "format_version is 9; this version reads 1"),
    "no version": (lambda d: d.file.attrs.__delitem__("format_version"), "format_version is None"),
    "no data": (lambda d: d.file.__delitem__("data"), "it has no group 'data'"),
    "stranger": (lambda d: d.parent.create_group("mask"), "it is damaged, or not of robomimic's layout"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_gives_one_clear_error_with_file_and_field(tmp_path, kind):
    damage, message = DAMAGES[kind]
    path = write(tmp_path, [1, 6]) / "shard-000-000000.h5"
    with h5py.File(path, "a") as file:
        damage(file["data/demo_0"])
    with pytest.raises(UserError, match=message) as error:
        list(read_shard(path, pixels=True))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    (tmp_path / INDEX).unlink()  # so that verify has to look inside
    assert list(problems(tmp_path)) == [path.name]


@pytest.mark.parametrize("scene", [{"family": "Maze"}, {"family": "Reach", "gaps": [1, 2]}])
def test_a_scene_that_cannot_be_made_again_is_found(tmp_path, scene):
    path = write(tmp_path, [1]) / "shard-000-000000.h5"
    with h5py.File(path, "a") as file:
        file["data/demo_0"].attrs["scene"] = json.dumps(scene)
    (tmp_path / INDEX).unlink()
    assert "cannot be made again" in problems(tmp_path)[path.name]
    with pytest.raises(UserError, match=r"cannot be made again \((unknown scene family 'Maze'|ReachCfg has no field)"):
        Frames(list(read_demos(path)))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_named(folder, share):
    path = folder / "shard-000-000001.h5"
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(UserError, match="shard-000-000001.h5: cannot be opened, it is cut off"):
        list(read_demos(folder))
    assert list(problems(folder)) == [path.name]
    (folder / INDEX).unlink()
    assert list(problems(folder)) == [path.name]


def test_a_folder_without_episodes_is_named(tmp_path):
    for call in (lambda: list(read_demos(tmp_path)), lambda: list(verify(tmp_path))):
        with pytest.raises(UserError, match="no episodes there"):
            call()


# -- verify


def test_verify_counts_what_is_sound(folder):
    assert [(v.episodes, v.steps, v.problem, v.note) for v in verify(folder)] == [
        (3, 12, None, None),
        (3, 16, None, None),
        (2, 9, None, None),
    ]


def test_verify_finds_a_flipped_byte_anywhere(tmp_path):
    """In the shards and in the index, wherever it is."""
    folder, draws = write(tmp_path / "episodes", range(4), episodes_a_shard=2), random.Random(0)
    for path in (*shard_paths(folder), folder / INDEX):
        sound = path.read_bytes()
        places = [0, len(sound) - 1, *draws.sample(range(len(sound)), 120)]
        for place in places:
            flipped = bytearray(sound)
            flipped[place] ^= draws.randrange(1, 256)
            path.write_bytes(flipped)
            assert problems(folder), f"{path.name} at {place}: {sound[place]} became {flipped[place]}"
        path.write_bytes(sound)
    assert problems(folder) == {}
    (folder / INDEX).write_bytes(sound.replace(b" ", b"\t", 1))  # means the same, and is not what was written
    assert problems(folder)


def test_verify_finds_a_shard_that_is_gone(folder):
    (folder / "shard-000-000001.h5").unlink()
    assert "in the index and not in the folder" in problems(folder)["shard-000-000001.h5"]
    for path in shard_paths(folder):
        path.unlink()
    assert len(problems(folder)) == 3


def test_verify_finds_shards_that_changed_places(folder):
    first, second, _ = shard_paths(folder)
    first.rename(folder / "between")
    second.rename(first)
    (folder / "between").rename(second)
    assert list(problems(folder)) == [first.name, second.name]


def test_verify_goes_on_after_a_problem(folder):
    for path in shard_paths(folder)[:2]:
        path.write_bytes(b"no HDF5")
    (folder / "shard-000-000009.h5").write_bytes(b"nor this")
    assert len(problems(folder)) == 3
    assert sum(verdict.episodes for verdict in verify(folder)) == 2


def test_one_file_is_held_against_the_index_beside_it(folder):
    path = folder / "shard-000-000000.h5"
    assert problems(path) == notes(path) == {}
    path.write_bytes(path.read_bytes() + b"\0")
    assert "SHA-256 differs" in problems(path)[path.name]


# -- disks that are full


def _fail(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["write", "fsync", "replace", "index"])
def test_a_full_disk_takes_nothing_that_was_there(folder, where, monkeypatch, small_disk):
    """And the writer can go on, with what it could not write, when there is room again."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    writer = ShardWriter(folder, ENV, episodes_a_shard=2)
    writer.write(numbered_demo(8))
    with monkeypatch.context() as patch:
        if where == "write":
            small_disk(4096)
        elif where == "index":
            patch.setattr(shards, "_append", _fail)
        else:
            patch.setattr(os, where, _fail)
        with pytest.raises(UserError, match=r"shard-000-000003\.h5: cannot be written .*the shards before it are"):
            writer.write(numbered_demo(9))
    small_disk(resource.RLIM_INFINITY)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not list(folder.glob(".shard*")) and problems(folder) == {}
    writer.flush()
    assert numbers_in(folder) == list(range(10)) and problems(folder) == notes(folder) == {}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="episodes cannot be written there"):
        ShardWriter(tmp_path / "file", ENV)


# -- merge


def test_merge_keeps_order_count_and_every_value(folder, tmp_path):
    other, out = write(tmp_path / "other", range(20, 34), episodes_a_shard=11), tmp_path / "all.h5"
    assert merge([folder, other], out) == 22
    expected = [*read_demos(folder, pixels=True), *read_demos(other, pixels=True)]
    for found, demo in zip(read_demos(out, pixels=True), expected, strict=True):
        assert_same(found, demo)
    with h5py.File(out) as file:
        assert file["data"].attrs["total"] == sum(map(len, expected))
        assert json.loads(file["data"].attrs["env_args"]) == {"type": 2, **ENV}
    assert problems(out) == {}


def test_isaac_labs_own_reader_takes_a_merged_file(folder, tmp_path):
    handler = pytest.importorskip("isaaclab.utils.datasets").HDF5DatasetFileHandler()
    out = tmp_path / "all.h5"
    count, demos = merge([folder], out), list(read_demos(folder))
    handler.open(str(out))
    assert handler.get_num_episodes() == count and handler.get_env_name() == ENV["env_name"]
    assert not handler.is_legacy_quaternion_format()  # it would turn the quaternions round
    for i, demo in enumerate(demos):
        episode = handler.load_episode(f"demo_{i}", "cpu")
        assert bool(episode.success) == demo.succeeded and episode.seed is not None
        pose = episode.data["states"]["rigid_object"]["robot"]["root_pose"]
        assert np.array_equal(pose, demo.root_pose) and np.array_equal(episode.data["actions"], demo.action)
    handler.close()


def test_a_merge_that_fails_leaves_what_was_there(folder, tmp_path, monkeypatch):
    out = tmp_path / "all.h5"
    out.write_bytes(b"precious")
    os.truncate(folder / "shard-000-000002.h5", 3000)
    with pytest.raises(UserError, match="shard-000-000002.h5: cannot be opened"):
        merge([folder], out)
    (folder / "shard-000-000002.h5").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _fail)
        with pytest.raises(UserError, match=r"all\.h5: cannot be written"):
            merge([folder], out)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**3))
        with pytest.raises(UserError, match=r"all\.h5: .* MB are needed there and 0 MB are free"):
            merge([folder], out)
    assert out.read_bytes() == b"precious" and [p.name for p in tmp_path.glob(".*")] == []
    assert merge([folder], out) == 6


def test_files_need_neither_torch_nor_warp(python):
    code = "import sys, mmnav.data.shards; sys.exit(bool({'torch', 'warp', 'transformers'} & set(sys.modules)))"
    assert python("-c", code).returncode == 0
