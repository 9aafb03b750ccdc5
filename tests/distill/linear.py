"""A least-squares problem on numbered samples: what the trainer's properties are tested on.

Run under torchrun, it trains on all processes and the first one writes the weights.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from shards import cpu_accelerator
from torch import nn
from transformers.utils import ModelOutput

from mmnav.distill.trainer import Trainer, TrainerCfg
from mmnav.scenes.draws import Draws

CFG = TrainerCfg(steps=12, batch=32, lr=0.05, warmup=3, save_every=5)


class Linear(nn.Module):
    """Guesses a linear map."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 2))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> ModelOutput:
        return ModelOutput(loss=(self.layers(x) - y).square().mean())


class Numbered:
    """Samples that depend on their numbers alone; keeps which ones were asked for."""

    def __init__(self):
        self.asked: list[np.ndarray] = []

    def batch(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        self.asked.append(numbers)
        x = torch.from_numpy(Draws(numbers, "x").uniform(-1.0, 1.0, 6)).float()
        return {"x": x, "y": torch.stack([x.sum(-1), x[:, 0] - x[:, 1]], -1)}


def fit(folder: Path, accelerator: Accelerator | None = None, samples: Numbered | None = None, **changes) -> Linear:
    """Trains from the start, or from what ``folder`` holds."""
    model = Linear()
    Trainer(model, samples or Numbered(), replace(CFG, **changes), folder, accelerator).fit()
    return model


if __name__ == "__main__":
    shared = cpu_accelerator()
    trained = fit(Path(sys.argv[1]), shared)
    if shared.is_main_process:
        torch.save({"weights": trained.state_dict(), "processes": shared.num_processes}, sys.argv[2])
    shared.free_memory()  # cut-up weights hold process groups
    shared.wait_for_everyone()
    shared.end_training()
