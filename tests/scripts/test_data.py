"""scripts/data.py: says what is there, finds what is wrong, and names mistakes before it starts."""

from __future__ import annotations

import importlib.util
import shutil
import sys

import imageio.v2 as imageio
import pytest
from processes import ROOT

from mmnav.data import ShardWriter, read_demos

sys.path.append(str(ROOT / "tests" / "data"))
from drives import drive

pytestmark = pytest.mark.smoke

DATA = "scripts/data.py"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Three successes and a collision in two shards."""
    folder = tmp_path_factory.mktemp("data") / "episodes"
    with ShardWriter(folder, {"env_name": "Drives"}, episodes_a_shard=2) as writer:
        for number, family in enumerate(("Reach", "Avoid", "Avoid", "Avoid")):
            demo = drive(family, number, 10 + 10 * number)
            demo.by_expert[: 5 * number] = 0
            demo.outcome = "collision" if number == 3 else "success"
            writer.write(demo)
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "episodes")


def test_inspect_counts_by_family_and_outcome(python, sound):
    result = python(DATA, "inspect", sound)
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    assert rows == [
        ["Avoid", "collision", "Avoid", "1", "40", "0.1", "40.0", "62.5"],
        ["Avoid", "success", "Avoid", "2", "50", "0.1", "25.0", "70.0"],
        ["Reach", "success", "Reach", "1", "10", "0.0", "10.0", "100.0"],
        ["all", "", "Avoid, Reach", "4", "100", "0.2", "25.0", "70.0"],
    ]
    size = sum(path.stat().st_size for path in sound.glob("*.h5"))
    assert f"2 files, {size / 1e6:.1f} MB, {size / 100:.0f} bytes a step" in result.stdout
    assert "Pixels are inside 0 of 4 episodes" in result.stdout


def test_verify_ends_with_0_if_all_is_well_and_with_1_if_not(python, folder):
    result = python(DATA, "verify", folder)
    assert (result.returncode, result.stdout) == (0, "4 episodes can be read; problems: 0.\n")
    second = folder / "shard-000-000001.h5"
    flipped = bytearray(second.read_bytes())
    flipped[len(flipped) // 2] ^= 4
    second.write_bytes(flipped)
    (folder / "shard-000-000002.h5").write_bytes(second.read_bytes()[:-100])
    shutil.copy(folder / "shard-000-000000.h5", folder / "shard-000-000003.h5")
    result = python(DATA, "verify", folder)
    lines = result.stdout.splitlines()
    assert result.returncode == 1 and result.stderr == "" and len(lines) == 4
    assert lines[0].startswith(f"{second}: its bytes are not those that were written")
    assert lines[1].startswith(f"{folder / 'shard-000-000002.h5'}: cannot be opened, it is cut off")
    assert lines[2].startswith(f"{folder / 'shard-000-000003.h5'}: note: it is in no index, and was adopted")
    assert lines[3] == "4 episodes can be read; problems: 2."


def test_merge_writes_one_file_and_nothing_over(python, folder, tmp_path):
    out = tmp_path / "all.h5"
    result = python(DATA, "merge", folder, folder, "--out", out)
    assert result.returncode == 0 and f"Wrote 8 episodes to {out}" in result.stdout, result.stderr
    assert [demo.layout for demo in read_demos(out)] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert python(DATA, "merge", folder, "--out", out).returncode == 2
    assert len(list(read_demos(out))) == 8
    assert python(DATA, "merge", folder, "--out", out, "--overwrite").returncode == 0
    assert len(list(read_demos(out))) == 4


@pytest.mark.slow
def test_video_shows_every_step_of_the_episode(python, sound, tmp_path):
    result = python(DATA, "video", sound, "--episode", "2", "--out", tmp_path / "film.mp4")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Avoid, success after 3.0 s" in result.stdout
    with imageio.get_reader(tmp_path / "film.mp4") as film:
        frames = [frame for frame in film]  # list() would ask for its length, which is infinite
    assert len(frames) == 30 + 10 and frames[0].shape == (720, 1280, 3)
    assert abs(frames[0].astype(int) - frames[-1]).max() > 50


CASES = [
    (("inspect", "{tmp}/nowhere"), "nowhere: no episodes there"),
    (("verify", "{tmp}"), "no episodes there"),
    (("merge", "{episodes}", "--out", "{tmp}/no/all.h5"), "the folder {tmp}/no does not exist"),
    (("merge", "{episodes}", "--out", "{tmp}/file.h5"), "is there already; say --overwrite or name another file"),
    (("merge", "{tmp}/file.h5", "--out", "{tmp}/all.h5"), "file.h5: cannot be opened, it is cut off or no HDF5"),
    (("video", "{episodes}", "--out", "film.gif"), "--out film.gif: the name must end with .mp4"),
    (("video", "{episodes}", "--episode", "4", "--out", "{tmp}/a.mp4"), "there is no episode 4; it holds 4, counted"),
    (("export-lerobot", "{episodes}", "--size", "4", "--out", "{tmp}/x"), "--size 4 must lie between 8 and 1024"),
    (("export-lerobot", "{episodes}", "--episodes", "0", "--out", "{tmp}/x"), "--episodes be at least 1"),
    (("export-lerobot", "{episodes}", "--out", "{tmp}"), "is there already; name another folder"),
]
if importlib.util.find_spec("lerobot") is None:
    CASES.append((("export-lerobot", "{episodes}", "--out", "{tmp}/x"), "needs the package lerobot"))


@pytest.mark.parametrize(
    ("words", "message"), CASES, ids=lambda case: " ".join(case)[-50:] if isinstance(case, tuple) else ""
)
def test_a_mistake_is_named_and_nothing_is_written(python, sound, tmp_path, words, message):
    (tmp_path / "file.h5").write_text("precious")
    places = {"tmp": tmp_path, "episodes": sound}
    result = python(DATA, *(word.format(**places) for word in words), timeout=120)
    assert result.returncode == 2, result.stderr[-2000:]
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message.format(**places) in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file.h5"]
    assert (tmp_path / "file.h5").read_text() == "precious"
