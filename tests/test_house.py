"""The house rules that a machine can check: what files may say, and what the library may import."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import setuptools

import mmnav

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Put together from pieces, so that this file does not hold what it looks for.
REGISTRY = re.compile(
    "|".join(["py" + "pi\\.", "python" + "hosted", "(?<!-)index-" + "url", "/sim" + "ple\\b"]), re.IGNORECASE
)
MACHINE_PATH = re.compile(r"(?<![\w.~}>/])/(?:home|" + "root|wo" + r"rk|Users|mnt)/\w")

IMPORT_ALL = """
import importlib, pkgutil, sys

class NoSimulator:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top.startswith("isaaclab") or top in {"isaacsim", "omni", "pxr", "carb", "mmnav_tasks", "mmnav_ui"}:
            raise ModuleNotFoundError(f"{name} is a simulator's", name=name)

sys.meta_path.insert(0, NoSimulator())
import mmnav
names = [module.name for module in pkgutil.walk_packages(mmnav.__path__, "mmnav.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def own_files() -> list[Path]:
    """Every file of the repository that is tracked, or would be if it were added."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in own_files():
        text = path.read_bytes()
        if b"\0" in text:
            continue
        lines = text.decode("utf-8").splitlines()
        found += [f"{path.relative_to(ROOT)}:{i}: {line}" for i, line in enumerate(lines, 1) if pattern.search(line)]
    return found


@pytest.mark.unit
def test_no_file_names_a_registry():
    assert lines_matching(REGISTRY) == []


@pytest.mark.unit
def test_no_file_names_a_place_on_one_machine():
    assert lines_matching(MACHINE_PATH) == []


@pytest.mark.unit
def test_constraints_are_exact_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []
    pinned = {line.partition("==")[0] for line in lines}
    extras = {k: v for k, v in PROJECT["optional-dependencies"].items() if k != "lerobot"}  # an environment of its own
    wanted = [*PROJECT["dependencies"], *sum(extras.values(), [])]
    assert {re.match(r"[\w-]+", requirement)[0] for requirement in wanted} <= pinned


@pytest.mark.unit
def test_version_is_the_same_everywhere():
    manifest = tomllib.loads((ROOT / "extension.toml").read_text())
    assert PROJECT["version"] == mmnav.__version__ == manifest["package"]["version"]
    assert f"## [{mmnav.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.unit
def test_kit_finds_the_modules_of_the_manifest():
    manifest = tomllib.loads((ROOT / "extension.toml").read_text())
    for module in manifest["python"]["module"]:
        assert (ROOT / module["path"] / module["name"] / "__init__.py").is_file(), module


@pytest.mark.unit
def test_every_script_finds_its_checkout():
    for path in (ROOT / "scripts").glob("[!_]*.py"):
        assert re.search(r"^import _checkout\b", path.read_text(), re.MULTILINE), (
            f"{path.name} lacks `import _checkout`"
        )


@pytest.mark.smoke
def test_library_imports_without_a_simulator():
    command = [sys.executable, "-c", IMPORT_ALL]
    result = subprocess.run(command, cwd=ROOT / "source", capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) > 0


@pytest.mark.smoke
def test_wheel_holds_both_packages_and_announces_the_tasks(tmp_path: Path):
    copy = tmp_path / "copy"
    for folder in ("source", "exts"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    data = [
        path.relative_to(copy / "source") for suffix in ("h", "json") for path in copy.glob(f"source/**/*.{suffix}")
    ]

    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    # Isaac Lab's dependencies hold `packaging` back; setuptools brings the one it needs, but puts it last.
    env = os.environ | {"PYTHONPATH": str(Path(setuptools.__file__).parent / "_vendor")}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr

    (wheel,) = tmp_path.glob("mmnav-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "[isaaclab.tasks]\nmmnav = mmnav_tasks\n" in archive.read(entry_points).decode()
    assert {"mmnav/__init__.py", "mmnav_tasks/__init__.py", *map(str, data)} <= names
    assert not [name for name in names if name.startswith("tests") or "__pycache__" in name]
