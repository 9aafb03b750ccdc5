"""Files and folders that are complete or not there, whenever a run is killed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from .errors import UserError

_TORCH_SAVE = ("inline_container", "iostream", "PytorchStreamWriter")
"""What torch.save says, one or another, in the RuntimeError that a full disk is to it."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, a disk that is full, or that refuses, is one clear error.

    Raises:
        UserError: If that happens.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if type(error) is RuntimeError and not any(part in str(error) for part in _TORCH_SAVE):
            raise
        raise UserError(f"{path}: cannot be written ({error}); what was there before stays.") from error


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Inside, no other process is inside for the same folder; a process that ends, however it does, is outside.

    Raises:
        UserError: If another one is.
    """
    with (Path(folder) / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another process is at work there; let it end, or name another folder."
            ) from None
        yield


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file that is complete or not there: to a temporary name, flushed to disk, then renamed.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    with writing(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


@contextlib.contextmanager
def completing(path: Path) -> Iterator[Path]:
    """Inside, a file is written under another name, which this yields; at the end it gets its own.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}")
    with writing(path):
        yield part
        part.replace(path)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(folder: Path) -> str:
    """What tells the content of a folder from any other: of its files' names and bytes, 16 hexadecimal digits.

    Texts for people (``*.md``) do not count, nor does what Python compiled.

    Raises:
        OSError: If a file cannot be read.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.suffix not in (".md", ".pyc"))
    words = "".join(f"{path.relative_to(folder).as_posix()} {checksum(path)}\n" for path in files)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def fresh_folder(folder: Path) -> Path:
    """An empty folder beside one that :func:`replace_folder` will put it in the place of."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def replace_folder(folder: Path) -> None:
    """Puts what :func:`fresh_folder` gave, flushed to disk, in a folder's place.

    A kill leaves the old folder or the new one; between two renames the old one is where :func:`find_folder` looks.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), _old(folder)
    for path in fresh.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # safetensors writes for the owner alone
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_folder(folder: Path) -> Path | None:
    """A folder that :func:`replace_folder` wrote, wherever a kill left it; None if there is none."""
    return next((path for path in (folder, _old(folder)) if path.is_dir()), None)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
