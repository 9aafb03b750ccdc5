"""A distillation of toy robots on every rank that torchrun starts; keeps what each rank encoded."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from shards import cpu_accelerator
from toy_robots import CFG, ToyRobots

from mmnav.distill.loop import Distillation
from mmnav.vla import make_student

if __name__ == "__main__":
    cfg = replace(
        CFG,
        reading=replace(CFG.reading, batch=8),
        **{stage: replace(CFG.sight, optimizer=sys.argv[2]) for stage in ("sight", "online")},
    )
    folder, student, accelerator = Path(sys.argv[1]), make_student("nano"), cpu_accelerator()
    run = Distillation(cfg, folder, student, ToyRobots(), accelerator=accelerator)
    run.run()
    torch.save(run._encoded.features(), folder / f"features-{accelerator.process_index}.pt")
    accelerator.wait_for_everyone()
    accelerator.end_training()
