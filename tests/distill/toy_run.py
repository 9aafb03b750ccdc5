"""A distillation of toy robots on every rank that torchrun starts, for test_loop.py."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator
from toy_robots import CFG, ToyRobots

from mmnav.distill.loop import Distillation
from mmnav.vla import make_student

if __name__ == "__main__":
    cfg = replace(CFG, **{stage: replace(CFG.tower, optimizer="muon") for stage in ("tower", "online")})
    Distillation(cfg, Path(sys.argv[1]), make_student("nano"), ToyRobots(), accelerator=Accelerator(cpu=True)).run()
