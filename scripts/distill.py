"""Distils the experts into one student that sees colour alone: offline, then online with balanced capabilities.

    ./isaaclab.sh -p scripts/distill.py

does all of MM-Nav (arXiv 2510.03142) on the machine it finds: the experts drive and are recorded, the student imitates
them, then drives itself while they say what they would have done. The same words, said again, go on with a run that was
stopped. Several processes: ``torchrun --nproc_per_node 2 scripts/distill.py ...`` or ``accelerate launch``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import _checkout
from mmnav.errors import UserError, run_main

ROOT = Path(_checkout.__file__).resolve().parents[1]


def main() -> None:
    """Checks the words, makes the student and the robots, runs, writes the report."""
    from mmnav.distill.results import precision_of, read_run
    from mmnav.distill.settings import parse_words
    from mmnav.files import only_one
    from mmnav.precision import native_precision
    from mmnav.vla import make_student
    from mmnav_tasks import launch

    words = parse_words(sys.argv[1:], ROOT / "config" / "distill", __doc__)
    device = launch.device_name(words.device)
    if device.startswith("cuda") and "LOCAL_RANK" in os.environ:
        device = launch.device_name(f"cuda:{os.environ['LOCAL_RANK']}")
    out = words.out or Path("logs") / "distill" / f"{words.scale}_seed{words.run.seed}"
    launch.writable_folder("--out", out, free_bytes=2 * 10**9)
    before = read_run(words.run, out)  # complains before anything slow starts
    try:
        changes = {name: json.loads(value) for name, value in words.student.items()}
    except json.JSONDecodeError as error:
        raise UserError(f"--student {words.student}: the values must be JSON ({error}).") from None

    from mmnav_tasks.distill import distil, load_experts, origin_of

    precision = words.precision or precision_of(before) or native_precision(device)
    folder = words.experts or ROOT / "assets" / "experts"
    experts = load_experts(folder, device)
    try:
        student = make_student(words.scale, words.vision, words.language, seed=words.run.seed, **changes)
    except (TypeError, ValueError) as error:
        raise UserError(f"--student {words.student}: {error}" if changes else str(error)) from error
    origin = origin_of(folder, precision, words.vision, words.language)
    read_run(words.run, out, student[0].config, origin)
    is_main = int(os.getenv("RANK", "0")) == 0
    with only_one(out) if is_main else contextlib.nullcontext():
        distil(replace(words, precision=precision), out, student, experts, origin, device)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run_main(main)
