"""Shards: folders of HDF5 files that a kill at any moment leaves readable.

A folder holds ``shard-<rank>-<number>.h5``, each complete or not there, and ``index.jsonl`` with a line for each: name,
counts and SHA-256. A shard is written to a temporary name, flushed to disk, renamed, and only then added to the index;
episodes are acknowledged when that is done. A shard that was renamed but not indexed is found and used, and the next
writer of its rank adds its line.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from ..errors import UserError
from ..files import checksum
from .demo import FORMAT, UNREADABLE, Demo, Heading, read_demo, read_heading, write_demo

INDEX = "index.jsonl"
LIBVER = ("v110", "v110")
"""HDF5's file format since 1.10: a third of the size of the oldest one for episodes of some hundred steps."""

_BLOCK = 1 << 20
_NUMBER = re.compile(r"shard-(\d+)-(\d+)\.h5")


class ShardWriter:
    """Writes episodes to a folder, some to a shard; use as a context, or call :meth:`flush` at the end."""

    def __init__(self, folder: Path, env_args: dict, *, seed: int = 0, rank: int = 0, episodes_a_shard: int = 64):
        """Opens a folder, or goes on in one.

        Args:
            folder: Where to; made if it does not exist.
            env_args: What robomimic wants to know of the env: ``env_name``, and whatever else is worth keeping.
            seed: Seed of the run.
            rank: Number of the process; every process writes shards of its own.
            episodes_a_shard: Episodes that are acknowledged together.

        Raises:
            UserError: If the folder cannot be made or written.
        """
        self.folder, self._env_args, self._seed, self._rank = Path(folder), env_args, seed, rank
        self._size, self._waiting = episodes_a_shard, []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(f".shard-{rank:03d}-*.h5"):
                left.unlink()
            self._next = self._resume()
        except OSError as error:
            raise UserError(f"{self.folder}: episodes cannot be written there ({error}).") from error

    def _resume(self) -> int:
        """Adds own shards that a kill kept out of the index; returns the number of the next shard."""
        index = read_index(self.folder)
        names = {path.name for path in self.folder.glob(f"shard-{self._rank:03d}-*.h5")}
        for name in sorted(names - set(index)):
            with contextlib.suppress(UserError):  # a damaged one is verify's to report
                _append(self.folder / INDEX, json.dumps(describe_shard(self.folder / name)))
        found = (_NUMBER.fullmatch(name) for name in names | set(index))
        return 1 + max((int(m[2]) for m in found if m and int(m[1]) == self._rank), default=-1)

    @property
    def shard_count(self) -> int:
        """Shards that this process has written, in this run or before."""
        return self._next

    def headings(self) -> Iterator[Heading]:
        """What the episodes in those shards are about."""
        for path in sorted(self.folder.glob(f"shard-{self._rank:03d}-*.h5")):
            yield from read_headings(path)

    def write(self, demo: Demo) -> bool:
        """Adds an episode; returns whether it, and all before it, are on disk now."""
        demo.check()
        self._waiting.append(demo)
        if len(self._waiting) >= self._size:
            self.flush()
        return not self._waiting

    def flush(self) -> None:
        """Writes what is waiting.

        Raises:
            UserError: If the disk is full or the folder cannot be written; what was there before stays.
        """
        if not self._waiting:
            return
        name = f"shard-{self._rank:03d}-{self._next:06d}.h5"
        part, path = self.folder / f".{name}", self.folder / name
        try:
            with part.open("wb") as file:
                file.write(self._image())
                file.flush()
                os.fsync(file.fileno())
            line = json.dumps(describe_shard(part) | {"name": name})
            os.replace(part, path)
            _sync_folder(self.folder)
            _append(self.folder / INDEX, line)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise UserError(f"{path}: cannot be written ({error}); the shards before it are complete.") from error
        self._next += 1
        self._waiting.clear()

    def _image(self) -> bytes:
        """The bytes of the next shard: made in memory, as HDF5 ends the process if a disk is full when it writes."""
        with h5py.File("shard", "w", driver="core", backing_store=False, libver=LIBVER) as file:
            file.attrs["format_version"] = FORMAT
            data = file.create_group("data")
            data.attrs["total"] = sum(len(demo) for demo in self._waiting)
            data.attrs["env_args"] = json.dumps({"type": 2, **self._env_args})
            for i, demo in enumerate(self._waiting):
                write_demo(data.create_group(f"demo_{i}"), demo, self._seed)
            file.flush()
            return file.id.get_file_image()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind, *exception) -> None:
        if kind is None:
            self.flush()


# -- the index


def describe_shard(path: Path) -> dict:
    """What the index says of a shard: episodes, steps, episodes by family and outcome, bytes and checksum.

    Raises:
        UserError: If it cannot be read.
    """
    headings = list(read_headings(path))
    kinds = Counter(f"{heading.family}/{heading.outcome}" for heading in headings)
    return {
        "name": path.name,
        "episodes": len(headings),
        "steps": sum(heading.steps for heading in headings),
        "kinds": dict(sorted(kinds.items())),
        "bytes": path.stat().st_size,
        "sha256": checksum(path),
    }


def _append(path: Path, line: str) -> None:
    """Adds a line and flushes it to disk, with the folder's entries; cuts away what a kill left of another line."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # other ranks add to the same index
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Flushes a folder's entries to disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _index_lines(folder: Path) -> tuple[list[tuple[str, dict | None]], str]:
    """The complete lines of the index with what they say (None if they are damaged), and what is left of a last one."""
    path = Path(folder) / INDEX
    text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    *lines, rest = text.split("\n")
    parsed = []
    for line in lines:
        entry = None
        with contextlib.suppress(json.JSONDecodeError):
            entry = json.loads(line)
        whole = isinstance(entry, dict) and isinstance(entry.get("name"), str) and json.dumps(entry) == line
        parsed.append((line, entry if whole else None))
    return parsed, rest


def read_index(folder: Path) -> dict[str, dict]:
    """Lines of the index by the shards' names; lines that are damaged, or that a kill cut off, are left out."""
    return {entry["name"]: entry for _, entry in _index_lines(folder)[0] if entry is not None}


# -- reading


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder in the order of their names; or the file itself, if it is one.

    Raises:
        UserError: If there are none.
    """
    folder = Path(folder)
    paths = [folder] if folder.is_file() else sorted(folder.glob("shard-*.h5"))
    if not paths:
        raise UserError(f"{folder}: no episodes there (no shard-*.h5).")
    return paths


@contextlib.contextmanager
def _open_shard(path: Path) -> Iterator[tuple[h5py.Group, list[str]]]:
    """Opens a shard: its group ``data``, and the names of the episodes in their order."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path}: cannot be opened, it is cut off or no HDF5 ({error}).") from error
    with file:
        try:
            version = file.attrs.get("format_version")
            if version != FORMAT:
                raise UserError(f"{path}: format_version is {version}; this version reads {FORMAT}.")
            if "data" not in file:
                raise UserError(f"{path}: it has no group 'data'.")
            names = sorted(file["data"], key=lambda name: int(name.removeprefix("demo_")))
        except UNREADABLE as error:
            raise UserError(f"{path}: it is damaged, or not of robomimic's layout ({error}).") from error
        yield file["data"], names


def read_shard(path: Path, pixels: bool = False) -> Iterator[Demo]:
    """The episodes of a shard, in order.

    Raises:
        UserError: If it is cut off, of another version, or an episode in it cannot be used.
    """
    with _open_shard(path) as (data, names):
        for name in names:
            yield read_demo(_episode(data, name), pixels)


def read_headings(path: Path) -> Iterator[Heading]:
    """What the episodes of a shard are about, in order; much faster than reading them.

    Raises:
        UserError: If it is cut off, of another version, or not readable.
    """
    with _open_shard(path) as (data, names):
        for name in names:
            yield read_heading(_episode(data, name))


def _episode(data: h5py.Group, name: str) -> h5py.Group:
    try:
        return data[name]
    except UNREADABLE as error:
        raise UserError(f"{data.file.filename}:/data/{name}: the episode cannot be read ({error}).") from error


def read_demos(folder: Path, pixels: bool = False) -> Iterator[Demo]:
    """All episodes of a folder, or of one file."""
    for path in shard_paths(folder):
        yield from read_shard(path, pixels)


def read_episode(folder: Path, number: int) -> Demo:
    """One episode by its number in the order of :func:`read_demos`, from 0.

    Raises:
        UserError: If there are fewer, or it cannot be used.
    """
    count = 0
    for path in shard_paths(folder):
        with _open_shard(path) as (data, names):
            if 0 <= number - count < len(names):
                return read_demo(_episode(data, names[number - count]))
        count += len(names)
    raise UserError(f"{folder}: there is no episode {number}; it holds {count}, counted from 0.")


# -- checking and joining


@dataclass(frozen=True)
class Verdict:
    """What :func:`verify` found out about one shard, or about the index."""

    path: Path
    episodes: int = 0
    steps: int = 0
    problem: str | None = None
    """What is wrong, and what to do; None if nothing is."""
    note: str | None = None
    """What is worth knowing and no problem."""


def verify(folder: Path) -> Iterator[Verdict]:
    """Checks every shard: its checksum, its layout, that all numbers in it are finite, and the index itself.

    Args:
        folder: Folder of shards; or a file, for which its own folder's index counts.

    Raises:
        UserError: If there is nothing to check.
    """
    folder = Path(folder)
    home = folder.parent if folder.is_file() else folder
    index = read_index(home)
    paths = [folder] if folder.is_file() else sorted(home.glob("shard-*.h5"))
    if not paths and not index:
        raise UserError(f"{folder}: no episodes there (no shard-*.h5).")
    for path in paths:
        yield _verdict(path, index.get(path.name))
    if folder.is_file():
        return
    for name in sorted(set(index) - {path.name for path in paths}):
        what = "it is in the index and not in the folder; restore it from a copy, or take its line out of the index."
        yield Verdict(home / name, problem=what)
    yield from _index_verdicts(home, [path for path in paths if path.name not in index])


def _verdict(path: Path, entry: dict | None) -> Verdict:
    """Checks one shard against its line of the index, if it has one."""
    if entry is not None and entry.get("sha256") != checksum(path):
        # what was changed is not opened: HDF5 may do anything with it
        what = "its bytes are not those that were written (SHA-256 differs); restore it from a copy, or delete it"
        return Verdict(path, problem=f"{what} together with its line in the index.")
    episodes = steps = 0
    try:
        for demo in read_shard(path, pixels=True):
            episodes, steps = episodes + 1, steps + len(demo)
            demo.generator()
        if entry is not None and entry != describe_shard(path):
            return Verdict(path, episodes, steps, "its line in the index does not describe it; take that line out.")
    except UserError as error:
        what = str(error).removeprefix(f"{path}").removeprefix(":").strip()
        return Verdict(path, episodes, steps, f"{what} Delete it, or read it with the version that wrote it.")
    note = None if entry is not None else "it is in no index, and was adopted: complete, but its checksum is not known."
    return Verdict(path, episodes, steps, note=note)


def _index_verdicts(folder: Path, strays: Sequence[Path]) -> Iterator[Verdict]:
    """What is wrong with the index, other than lines that are whole."""
    lines, rest = _index_lines(folder)
    for i, (_, entry) in enumerate(lines, 1):
        if entry is None:
            what = "is damaged; take it out, its shard is used without it."
            yield Verdict(folder / INDEX, problem=f"line {i} {what}")
    if not rest:
        return
    beginnings = []
    for path in strays:
        with contextlib.suppress(UserError):
            beginnings.append(json.dumps(describe_shard(path)))
    if any(line.startswith(rest) for line in beginnings):
        yield Verdict(folder / INDEX, note="its last line is cut off, as a kill leaves it; the next writer mends that.")
    else:
        yield Verdict(folder / INDEX, problem="its last line is damaged; take it out, its shard is used without it.")


def merge(folders: Sequence[Path], out: Path) -> int:
    """Joins the episodes of folders into one file of Isaac Lab's and robomimic's layout.

    Args:
        folders: Folders of shards, or files.
        out: File to write; it is complete or not there.

    Returns:
        Number of episodes.

    Raises:
        UserError: If a shard cannot be read, or the disk has no room.
    """
    out = Path(out)
    part = out.with_name(f".{out.name}")
    paths = [path for folder in folders for path in shard_paths(folder)]
    count = steps = 0
    try:
        need, free = sum(path.stat().st_size for path in paths), shutil.disk_usage(out.parent).free
        if free < need + _BLOCK:
            raise UserError(f"{out}: {need / 1e6:.0f} MB are needed there and {free / 1e6:.0f} MB are free.")
        with h5py.File(part, "w", libver=LIBVER) as file:
            file.attrs["format_version"] = FORMAT
            data = file.create_group("data")
            for path in paths:
                for _ in read_shard(path):
                    pass  # raises before anything of it is copied
                with _open_shard(path) as (shard, names):
                    data.attrs.setdefault("env_args", shard.attrs["env_args"])
                    for name in names:
                        shard.copy(name, data, name=f"demo_{count}")
                        count, steps = count + 1, steps + int(shard[name].attrs["num_samples"])
            data.attrs["total"] = steps
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, out)
        _sync_folder(out.parent)
    except UNREADABLE as error:
        raise UserError(f"{out}: cannot be written ({error}).") from error
    finally:
        part.unlink(missing_ok=True)
    return count
