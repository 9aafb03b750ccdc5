"""isaaclab.sh, run in a copy of the house with doubles for python3.12 and uv: nothing is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [pytest.mark.smoke, pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")]

TOOLS = (
    "bash",
    "cat",
    "chmod",
    "dirname",
    "env",
    "flock",
    "ls",
    "mkdir",
    "readlink",
    "rm",
    "sha256sum",
    "sleep",
    "touch",
)

# Stands for an interpreter: has Isaac Lab once pip ran under it, and records every other call, word by word.
PYTHON = r"""#!/usr/bin/env bash
prefix="$(dirname -- "$(dirname -- "${BASH_SOURCE[0]}")")"
case "$1 ${2:-}" in
    "-c "*version_info*) echo 3.12; exit ;;
    "-c "*isaaclab.cli*) [[ -f "$prefix/has_isaaclab" ]] && echo "$prefix"; exit ;;
    "-m venv") mkdir -p "$3/bin"; cat "${BASH_SOURCE[0]}" >"$3/bin/python"; chmod +x "$3/bin/python"; exit ;;
esac
[[ "$1 ${2:-} ${!#}" == "-m pip --help" ]] && exit "${FAKE_NO_PIP:-0}"
{ printf '%s\x1f' "$PWD" "${PYTHONPATH:-}" "${VIRTUAL_ENV:-}" "$0" "$@"; printf '\x1e'; } >>"$FAKE_LOG"
case "$1 ${2:-}" in
    "-m pip")
        trap 'exit 130' INT # as installers do
        sleep "${FAKE_PIP_SECONDS:-0}"
        [[ -z "${FAKE_PIP_FAILS:-}" ]] && touch "$prefix/has_isaaclab" ;;
    *) exit "${FAKE_EXIT_CODE:-0}" ;;
esac
"""

DEAD_SHIM = "#!/usr/bin/env bash\necho 'pyenv: command not found' >&2\nexit 127\n"


class House:
    """A copy of what isaaclab.sh needs, in a folder with a space in its name, and the only PATH it sees."""

    def __init__(self, folder: Path):
        self.root = folder / "a house"
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.home = folder / "home"
        for path in (self.root, self.bin, self.home):
            path.mkdir()
        for name in ("isaaclab.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.env = {"PATH": str(self.bin), "HOME": str(self.home), "FAKE_LOG": str(self.log)}

    def program(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def with_python312(self) -> House:
        self.program(self.bin / "python3.12", PYTHON)
        return self

    def start(self, *words: str, script: Path | None = None, cwd: Path | None = None, **env: str) -> subprocess.Popen:
        return subprocess.Popen(
            [str(script or self.root / "isaaclab.sh"), *words],
            cwd=cwd or self.root,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever runs tests may ignore Ctrl-C
        )

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        process = self.start(*words, **options)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def calls(self) -> list[list[str]]:
        """Every recorded call as [cwd, PYTHONPATH, VIRTUAL_ENV, python, *words]."""
        if not self.log.exists():
            return []
        return [record.split("\x1f")[:-1] for record in self.log.read_text().split("\x1e")[:-1]]

    def installations(self) -> int:
        return sum(call[4:7] == ["-m", "pip", "install"] for call in self.calls())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_missing_python_is_one_clear_line(house: House):
    house.program(house.bin / "python3.12", DEAD_SHIM)
    house.program(house.bin / "uv", DEAD_SHIM)
    result = house.run("list_envs")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "isaaclab.sh: Python 3.12 is missing: install python3.12 (system packages, pyenv or conda) or uv."
    ]


def test_python_behind_a_dead_shim_is_found(house: House):
    house.program(house.bin / "python3.12", DEAD_SHIM)
    house.program(house.home / ".pyenv" / "versions" / "3.12.7" / "bin" / "python", PYTHON)
    assert house.run("list_envs").returncode == 0
    assert house.installations() == 1


def test_first_call_installs_the_pinned_set_and_later_calls_do_not(house: House):
    house.with_python312()
    for _ in range(3):
        assert house.run("list_envs").returncode == 0
    install, *uses = house.calls()
    assert install[0] == str(house.root)
    assert install[4:] == ["-m", "pip", "install", "--constraint", "constraints.txt", "--editable", ".[sim,dev]"]
    assert [call[3:] for call in uses] == [[f"{house.root}/.venv/bin/python", "-m", "isaaclab", "list_envs"]] * 3


def test_uv_installs_where_it_is(house: House):
    house.with_python312()
    house.program(
        house.bin / "uv",
        "#!/usr/bin/env bash\n"
        'case "$1" in --version) ;; venv) python3.12 -m venv "${@: -1}" ;; pip) python3.12 "$@" ;; esac\n',
    )
    assert house.run("list_envs").returncode == 0
    install, use = house.calls()
    python = f"{house.root}/.venv/bin/python"
    assert install[4:8] == ["pip", "install", "--python", python]
    assert use[3] == python


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_into_the_same_venv(house: House, file: str):
    house.with_python312().run("list_envs")
    (house.root / ".venv" / "mine").touch()
    with (house.root / file).open("a") as stream:
        stream.write("# changed\n")
    assert house.run("list_envs").returncode == 0
    assert house.installations() == 2
    assert (house.root / ".venv" / "mine").exists()
    house.run("list_envs")
    assert house.installations() == 2


def test_moved_house_is_installed_again(house: House):
    house.with_python312().run("list_envs")
    house.root = house.root.rename(house.root.with_name("new house"))
    assert house.run("list_envs").returncode == 0
    assert house.installations() == 2


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("finished_before", [False, True])
def test_killed_setup_is_made_again(house: House, finished_before: bool, signal_number: int):
    house.with_python312()
    if finished_before:
        house.run("list_envs")
        (house.root / "constraints.txt").write_text("")
    before = house.installations()
    process = house.start("list_envs", FAKE_PIP_SECONDS="30")
    deadline = time.monotonic() + 20
    while house.installations() == before and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal_number)
    assert process.wait(timeout=20) != 0
    (house.root / ".venv" / "half").touch()

    assert house.run("list_envs").returncode == 0
    assert house.installations() == before + 2
    assert not (house.root / ".venv" / "half").exists()


def test_failed_installation_says_so_and_is_made_again(house: House):
    house.with_python312()
    result = house.run("list_envs", FAKE_PIP_FAILS="1")
    assert result.returncode == 2
    assert "installation failed" in result.stderr
    (house.root / ".venv" / "half").touch()
    assert house.run("list_envs").returncode == 0
    assert not (house.root / ".venv" / "half").exists()


def test_failed_update_keeps_the_venv_and_is_tried_again(house: House):
    house.with_python312().run("list_envs")
    (house.root / "constraints.txt").write_text("")
    (house.root / ".venv" / "mine").touch()
    assert house.run("list_envs", FAKE_PIP_FAILS="1").returncode == 2
    assert house.run("list_envs").returncode == 0
    assert house.installations() == 3
    assert (house.root / ".venv" / "mine").exists()


def test_venv_without_a_working_python_is_made_again(house: House):
    house.with_python312()
    house.program(house.root / ".venv" / "bin" / "python", DEAD_SHIM)
    assert house.run("list_envs").returncode == 0


def test_venv_of_another_hand_is_kept_and_completed(house: House):
    house.with_python312()
    house.program(house.root / ".venv" / "bin" / "python", PYTHON)
    (house.root / ".venv" / "mine").touch()
    assert house.run("list_envs").returncode == 0
    assert house.installations() == 1
    assert (house.root / ".venv" / "mine").exists()


def test_venv_that_nothing_can_install_into_is_made_again(house: House):
    house.with_python312().run("list_envs")
    (house.root / "constraints.txt").write_text("")
    (house.root / ".venv" / "old").touch()
    assert house.run("list_envs", FAKE_NO_PIP="1").returncode == 0
    assert not (house.root / ".venv" / "old").exists()


def test_two_first_calls_install_once(house: House):
    house.with_python312()
    processes = [house.start("list_envs", FAKE_PIP_SECONDS="1") for _ in range(2)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0]
    assert house.installations() == 1


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX", "PATH"])
def test_active_environment_with_isaac_lab_is_used(house: House, variable: str):
    active = house.home / "active env"
    python = house.program(active / "bin" / "python", PYTHON)
    (active / "has_isaaclab").touch()
    env = {"PATH": f"{python.parent}:{house.bin}"} if variable == "PATH" else {variable: str(active)}
    assert house.run("train", PYTHONPATH="kept", **env).returncode == 0

    (call,) = house.calls()
    assert call[3:] == [str(python), "-m", "isaaclab", "train"]
    assert not (house.root / ".venv").exists()
    path = call[1].split(":")
    assert path[:2] == [f"{house.root}/source", f"{house.root}/exts/mmnav"]
    assert path[-1] == "kept"
    (entry_points,) = Path(path[2]).glob("mmnav.dist-info/entry_points.txt")
    assert entry_points.read_text() == "[isaaclab.tasks]\nmmnav = mmnav_tasks\n"


def test_active_environment_without_isaac_lab_is_not_used(house: House):
    house.with_python312()
    active = house.home / "active"
    house.program(active / "bin" / "python", PYTHON)
    assert house.run("train", VIRTUAL_ENV=str(active)).returncode == 0
    assert house.calls()[-1][2:4] == [f"{house.root}/.venv", f"{house.root}/.venv/bin/python"]


def test_own_venv_when_active_is_still_kept_up_to_date(house: House):
    house.with_python312().run("list_envs")
    (house.root / "constraints.txt").write_text("")
    assert house.run("list_envs", VIRTUAL_ENV=f"{house.root}/.venv").returncode == 0
    assert house.installations() == 2


def test_words_are_handed_over_as_they_are(house: House):
    words = ["-p", "my script.py", "", "a  b", 'say "hi"', "$HOME", "*", "--task=x y", "line\nbreak", "-t", "--help"]
    house.with_python312().run(*words)
    assert house.calls()[-1][4:] == ["-m", "isaaclab", *words]


def test_exit_code_is_handed_back(house: House):
    assert house.with_python312().run("-p", "x.py", FAKE_EXIT_CODE="7").returncode == 7


def test_t_runs_the_tests_of_this_project_from_anywhere(house: House, tmp_path: Path):
    house.with_python312().run("-t", "-k", "a or b", cwd=tmp_path)
    call = house.calls()[-1]
    assert call[0] == str(house.root)
    assert call[4:] == ["-m", "pytest", "-k", "a or b"]


def test_works_from_another_folder_through_a_link(house: House, tmp_path: Path):
    link = tmp_path / "link.sh"
    link.symlink_to(house.root / "isaaclab.sh")
    assert house.with_python312().run("-p", "x.py", script=link, cwd=tmp_path).returncode == 0
    assert house.calls()[-1][0] == str(tmp_path)
    assert (house.root / ".venv").is_dir()


def test_help_needs_nothing(house: House):
    result = house.run("--help")
    assert result.returncode == 0
    assert "usage: isaaclab.sh" in result.stdout
    assert not (house.root / ".venv").exists()
