"""Files and folders are complete or not there, wherever a kill stops their writing."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
import torch
from processes import python_environment
from safetensors.torch import save_file

from mmnav import files
from mmnav.errors import UserError
from mmnav.files import find_folder, fingerprint, fresh_folder, only_one, replace_folder, write_atomically, writing

pytestmark = pytest.mark.unit


def test_only_one_process_is_inside_and_a_killed_one_is_outside(tmp_path):
    code = f"from mmnav.files import only_one\nwith only_one({str(tmp_path)!r}): print('in', flush=True); input()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=python_environment()) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(UserError, match="another process is at work there"), only_one(tmp_path):
            pass
        other.kill()
    for _ in range(2):
        with only_one(tmp_path):
            pass


class Killed(BaseException):
    """A kill -9, as far as code can tell."""


def write(folder, text):
    fresh = fresh_folder(folder)
    (fresh / "part").mkdir()
    (fresh / "part" / "text").write_text(text)
    replace_folder(folder)


def test_a_folder_takes_anothers_place_and_leaves_nothing_beside_it(tmp_path):
    folder = tmp_path / "runs" / "state"
    for text in ("first", "second"):
        write(folder, text)
        assert (find_folder(folder) / "part" / "text").read_text() == text
        assert [path.name for path in folder.parent.iterdir()] == ["state"]


@pytest.mark.parametrize("calls", range(8))
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path, monkeypatch, calls):
    folder, left = tmp_path / "state", calls
    write(folder, "old")

    def dying(call):
        def wrapped(*args, **kwargs):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return call(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(files.os, "fsync", dying(files.os.fsync))
    monkeypatch.setattr(files.shutil, "rmtree", dying(files.shutil.rmtree))
    monkeypatch.setattr(files.Path, "rename", dying(files.Path.rename))
    try:
        write(folder, "new")
        told = {"new"}
    except Killed:
        told = {"old", "new"}
    monkeypatch.undo()
    assert (find_folder(folder) / "part" / "text").read_text() in told
    write(folder, "after")
    assert (find_folder(folder) / "part" / "text").read_text() == "after"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_was_never_written_is_not_found(tmp_path):
    fresh_folder(tmp_path / "state")
    assert find_folder(tmp_path / "state") is None


def test_a_text_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "text"
    write_atomically(path, "old")
    monkeypatch.setattr(files.os, "fsync", lambda file: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    monkeypatch.undo()
    with pytest.raises(UserError, match="nowhere/text: cannot be written .*No such file"):
        write_atomically(tmp_path / "nowhere" / "text", "text")


@pytest.mark.parametrize("write", ["torch", "safetensors", "text"])
def test_a_disk_that_is_full_is_one_clear_error_whoever_writes(tmp_path, small_disk, write):
    path, weights = tmp_path / "weights", torch.zeros(100_000)
    small_disk(4096)
    try:
        with pytest.raises(UserError, match="weights: cannot be written"), writing(path):
            if write == "torch":
                torch.save(weights, path)
            elif write == "safetensors":
                save_file({"weights": weights}, path)
            else:
                path.write_text("x" * 100_000)
    finally:
        small_disk(resource.RLIM_INFINITY)  # before pytest writes to a log of its own


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"), writing(tmp_path):
        raise RuntimeError("out of memory")


def test_a_fingerprint_tells_folders_apart_by_names_and_bytes_but_not_by_notes(tmp_path):
    folder = tmp_path / "policy"
    (folder / "inner").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "inner" / "weights").write_bytes(b"12")
    seen = [fingerprint(folder)]
    folder = folder.rename(tmp_path / "elsewhere")
    (folder / "README.md").write_text("a note")
    assert fingerprint(folder) == seen[0]
    (folder / "config.json").write_text("{ }")
    seen.append(fingerprint(folder))
    (folder / "inner" / "weights").rename(folder / "weights")
    seen.append(fingerprint(folder))
    (folder / "weights").write_bytes(b"21")
    seen.append(fingerprint(folder))
    assert len(set(seen)) == 4
