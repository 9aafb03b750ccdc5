"""Runs scripts in forks of one process that has their slow imports behind it; spoken to in lines of JSON.

A line in: the words of a command. A line out: its exit code and what it printed.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import tempfile
import traceback

# what the scripts import before they look at their words
import mmnav_tasks.distill
import mmnav_tasks.launch
import mmnav_tasks.policies  # noqa: F401

SECONDS = 120


def run(words: list[str]) -> dict:
    """Runs one command in a fork."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_become(words))
        _, status = os.waitpid(child, 0)
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
    return {"returncode": os.waitstatus_to_exitcode(status), "stdout": texts[0], "stderr": texts[1]}


def _become(words: list[str]) -> int:
    """Does in this process what ``python WORDS`` would do; returns the exit code."""
    signal.alarm(SECONDS)
    try:
        sys.argv = words[1:] if words[0] == "-m" else words
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, os.path.dirname(words[0]))
            runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what imports print is no answer
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line))) + "\n")
