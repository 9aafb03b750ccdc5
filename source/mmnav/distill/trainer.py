"""Trainer: one loop on accelerate for all that learns here; samples are numbered, so that every run can be repeated."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from ..errors import UserError, check_fields
from ..files import find_folder, fresh_folder, replace_folder, writing
from .muon import Muon
from .sharding import copy_to_cut, cuts_up, put_together, share_buffers

_LARGE = 32
"""Rows and columns, at least, of matrices that Muon takes: it moves all directions of a matrix by the same amount."""


@dataclass(frozen=True)
class TrainerCfg:
    """How to learn."""

    steps: int = 1000
    """Optimiser steps."""
    batch: int = 128
    """Samples of every optimiser step, over all processes and accumulated micro-batches."""
    accumulate: int = 1
    """Micro-batches of every optimiser step on each process."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW for all, or Muon for the large matrices and AdamW for the rest."""
    lr: float = 1e-3
    """Highest learning rate; Muon's steps are scaled so that AdamW's rates suit it (arXiv 2502.16982, equation 4)."""
    final_lr: float = 0.05
    """Last learning rate, as a share of the highest; a cosine leads there."""
    warmup: int = 50
    """Steps over which the learning rate rises from zero."""
    weight_decay: float = 0.02
    """On matrices only."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    save_every: int = 500
    """Steps between two saved states."""
    log_every: int = 10
    """Steps between two lines of TensorBoard."""

    def __post_init__(self) -> None:
        """Raises ValueError if a number is impossible; the message names the field and the value."""
        counts = ("steps", "batch", "accumulate", "save_every", "log_every")
        check_fields(self, lambda value: value >= 1, "be at least 1", *counts)
        is_multiple = lambda value: value % self.accumulate == 0  # noqa: E731
        check_fields(self, is_multiple, f"be a multiple of accumulate, {self.accumulate}", "batch")
        check_fields(self, ("adamw", "muon").__contains__, "be adamw or muon", "optimizer")
        check_fields(self, lambda value: 0.0 < value < math.inf, "be positive", "lr", "max_grad_norm")
        check_fields(self, lambda value: 0.0 <= value <= 1.0, "lie in [0, 1]", "final_lr")
        check_fields(self, lambda value: 0.0 <= value < math.inf, "be 0 or more", "warmup", "weight_decay")


class Samples(Protocol):
    """Numbered samples: which ones a batch holds depends on their numbers alone."""

    def batch(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """The model's arguments for some samples."""
        ...


@dataclass
class Progress:
    """How far a run is."""

    step: int
    total: int
    loss: float
    samples_per_second: float


class Trainer:
    """Minimises what a module's ``forward(**batch).loss`` returns.

    Sample n of step s has the number ``s * batch + n``, on whatever process and in whatever micro-batch it lands: one
    process equals several, accumulated micro-batches equal one large batch, and a resumed run equals an uninterrupted
    one, up to the order in which floating-point numbers are added. Batch norms that learn see micro-batches.
    """

    def __init__(
        self, model: nn.Module, samples: Samples, cfg: TrainerCfg, folder: Path, accelerator: Accelerator | None = None
    ):
        """Prepares everything; goes on from the state in ``folder``, if there is one.

        Args:
            model: What learns. Where weights are cut up, it is a copy that learns, and ``fit`` gives them back to it.
            samples: What from.
            cfg: How.
            folder: For the state and TensorBoard's files.
            accelerator: Processes and precision; a plain one if None.

        Raises:
            UserError: If processes cannot learn that way, or the saved state is of another run.
        """
        self.accelerator = accelerator or Accelerator()
        self.cfg, self.samples, self.folder = cfg, samples, Path(folder)
        check_processes(cfg, self.accelerator)
        self._whole = model if cuts_up(self.accelerator) else None
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._whole is not None:
            micro = cfg.batch // self.accelerator.num_processes
            model = copy_to_cut(model, self.accelerator, micro, cfg.max_grad_norm)
        self.model, *self.optimizers = self.accelerator.prepare(model, *make_optimizers(model, cfg))
        self.step = 0
        self._losses: deque[float] = deque(maxlen=max(1, cfg.steps // 10))
        self._resume()

    def fit(self, on_step: Callable[[Progress], None] | None = None) -> float:
        """Trains to the end; returns the mean loss of the last tenth of the steps, NaN if none was left to do.

        Raises:
            UserError: If the loss is not finite, or the disk is full; the last saved state stays.
        """
        cfg, accelerator = self.cfg, self.accelerator
        curves = _Curves(self.folder, self.step + 1) if accelerator.is_main_process else None
        losses = self._losses
        began, first = time.perf_counter(), self.step
        self.model.train()
        while self.step < cfg.steps:
            for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                group["lr"] = self._lr(self.step)
            loss = self.update()
            if not math.isfinite(loss):
                raise UserError(
                    f"{self.folder}: the loss of step {self.step} is {loss}; look at the data, or remove this folder "
                    "and learn at a lower lr."
                )
            losses.append(loss)
            self.step += 1
            rate = (self.step - first) * cfg.batch / (time.perf_counter() - began)
            if curves is not None and self.step % cfg.log_every == 0:
                recent = list(losses)[-cfg.log_every :]
                mean = sum(recent) / len(recent)
                curves.add(self.step, loss=mean, lr=self._lr(self.step - 1), samples_per_second=rate)
            if on_step is not None:
                on_step(Progress(self.step, cfg.steps, loss, rate))
            if self.step % cfg.save_every == 0 and self.step < cfg.steps:
                self.save()
        if curves is not None:
            curves.close()
        if self._whole is not None:
            put_together(self.model, self._whole, accelerator)
        else:
            share_buffers(self.model, self.model, accelerator)
        return sum(losses) / len(losses) if losses else math.nan

    def save(self) -> None:
        """Writes the state: weights, optimiser, randomness and position; complete or not there.

        Raises:
            UserError: If the disk is full or the folder cannot be written; the state before this one stays.
        """
        folder, is_main = self.folder / "state", self.accelerator.is_main_process
        with writing(folder):
            (fresh,) = broadcast_object_list([str(fresh_folder(folder)) if is_main else None])
            self.accelerator.save_state(fresh)
            self.accelerator.wait_for_everyone()
            if is_main:
                position = {"step": self.step, "losses": list(self._losses), "cfg": asdict(self.cfg)}
                (Path(fresh) / "position.json").write_text(json.dumps(position))
                replace_folder(folder)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        """Goes on from the saved state; one that a kill caught between two renames is found as well."""
        state = find_folder(self.folder / "state")
        if state is None:
            return
        position = json.loads((state / "position.json").read_text())
        if position["cfg"] != asdict(self.cfg):
            changed = [k for k, v in asdict(self.cfg).items() if position["cfg"].get(k) != v]
            raise UserError(f"{state} was made with another {', '.join(changed)}; name another folder or remove it.")
        self.accelerator.load_state(str(state))
        self.step = position["step"]
        self._losses.extend(position["losses"])

    def update(self) -> float:
        """One optimiser step, of the samples that ``step`` stands at; returns its loss over all processes."""
        cfg, accelerator = self.cfg, self.accelerator
        micro = cfg.batch // (accelerator.num_processes * cfg.accumulate)
        total = torch.zeros((), device=accelerator.device)
        for i in range(cfg.accumulate):
            first = self.step * cfg.batch + (i * accelerator.num_processes + accelerator.process_index) * micro
            batch = self.samples.batch(np.arange(first, first + micro))
            batch = {name: value.to(accelerator.device) for name, value in batch.items()}
            last = i == cfg.accumulate - 1
            with accelerator.no_sync(self.model) if not last else accelerator.autocast():
                with accelerator.autocast():
                    loss = self.model(**batch).loss / cfg.accumulate
                accelerator.backward(loss)
            total += loss.detach()
        accelerator.clip_grad_norm_(self.model.parameters(), cfg.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return float(accelerator.reduce(total, "mean"))

    def _lr(self, step: int) -> float:
        """Learning rate of a step: a linear rise, then a cosine."""
        cfg = self.cfg
        rise = min(1.0, (step + 1) / max(cfg.warmup, 1))
        share = min(1.0, step / max(cfg.steps, 1))
        fall = cfg.final_lr + (1.0 - cfg.final_lr) * 0.5 * (1.0 + math.cos(math.pi * share))
        return cfg.lr * rise * fall


class _Curves:
    """TensorBoard's file of a run."""

    def __init__(self, folder: Path, first: int):
        """Goes on from a step; what was written of that and later ones does not count any more."""
        self._folder = folder
        with writing(folder):
            self._writer = SummaryWriter(folder, purge_step=first)

    def add(self, step: int, **values: float) -> None:
        """Adds a point to each curve. Raises UserError if the disk is full."""
        with writing(self._folder):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes the rest. Raises UserError if the disk is full."""
        with writing(self._folder):
            self._writer.close()


def check_processes(cfg: TrainerCfg, accelerator: Accelerator, name: str = "TrainerCfg") -> None:
    """Checks that the processes that there are can learn as they are told to.

    Args:
        cfg: How to learn.
        accelerator: The processes.
        name: What the configuration is called, for the message.

    Raises:
        UserError: If they cannot; the message names the field and what would be right.
    """
    world, kind = accelerator.num_processes, accelerator.distributed_type.value
    if cfg.batch % (world * cfg.accumulate):
        raise UserError(
            f"{name}.batch is {cfg.batch}; it must be a multiple of {world * cfg.accumulate}, for {world} processes x "
            f"{cfg.accumulate} micro-batches."
        )
    if cuts_up(accelerator) and cfg.optimizer == "muon":
        raise UserError(f"{name}.optimizer is muon, which needs whole matrices; {kind} cuts them up: use adamw.")
    if kind == DistributedType.DEEPSPEED.value and cfg.accumulate > 1:
        raise UserError(f"{name}.accumulate is {cfg.accumulate}; it must be 1 with DeepSpeed. FSDP accumulates.")


def make_optimizers(model: nn.Module, cfg: TrainerCfg) -> list[torch.optim.Optimizer]:
    """AdamW for what learns; with ``muon``, Muon before it for large matrices and kernels that are no embeddings."""
    tables = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    learning = [p for p in model.parameters() if p.requires_grad]
    muon = cfg.optimizer == "muon"
    takes = lambda p: muon and p.dim() >= 2 and min(p[0].numel(), len(p)) >= _LARGE and id(p) not in tables  # noqa: E731
    large, rest = [p for p in learning if takes(p)], [p for p in learning if not takes(p)]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": cfg.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizers = [torch.optim.AdamW([g for g in groups if g["params"]], cfg.lr, betas=(0.9, 0.95))]
    if large:
        optimizers.insert(0, Muon(large, cfg.lr, cfg.weight_decay))
    return optimizers
