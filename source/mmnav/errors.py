"""One clear line for a user's mistake."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class UserError(Exception):
    """Something in the user's words or files is wrong; the message says what, where, and what would be right."""

    def report(self) -> int:
        """Prints the message as one line on stderr and returns the exit code 2."""
        print(f"error: {self}", file=sys.stderr)
        return 2


def choose[T](what: str, name: str, choices: Mapping[str, T]) -> T:
    """Looks a name up.

    Args:
        what: What the name stands for, for the message.
        name: The user's word.
        choices: What there is, by name.

    Raises:
        UserError: If the name is unknown; it lists the valid ones and suggests the nearest.
    """
    if name in choices:
        return choices[name]
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in choices], 1)
    hint = next((f" Did you mean {c}?" for c in choices if near and c.lower() == near[0]), "")
    raise UserError(f"unknown {what} {name!r}; there are {', '.join(choices)}.{hint}")


def check_fields(cfg: object, fits: Callable[[Any], bool], must: str, *names: str) -> None:
    """Checks some fields of a configuration.

    Args:
        cfg: It.
        fits: Whether a value is right.
        must: What a value must do, for the message: "be positive".
        *names: The fields.

    Raises:
        ValueError: If a value does not fit; the message names the field and the value.
    """
    for name in names:
        value = getattr(cfg, name)
        if not fits(value):
            raise ValueError(f"{type(cfg).__name__}.{name} is {value!r}; it must {must}.")


def check_folder(flag: str, path: Path) -> None:
    """Raises UserError if the folder that a file is to be written to does not exist."""
    if not path.parent.is_dir():
        raise UserError(f"{flag} {path}: the folder {path.parent} does not exist.")


def check_new_file(flag: str, path: Path, overwrite: bool) -> None:
    """Raises UserError if a file that is to be written is there already, unless it is to be replaced."""
    if path.exists() and not overwrite:
        raise UserError(f"{flag} {path} is there already; say --overwrite or name another file.")


def run_main(main: Callable[[], None]) -> None:
    """Runs a script: a user's mistake ends it with one line and exit code 2, Ctrl-C quietly with 130."""
    try:
        main()
    except UserError as error:
        sys.exit(error.report())
    except KeyboardInterrupt:
        sys.exit(130)
