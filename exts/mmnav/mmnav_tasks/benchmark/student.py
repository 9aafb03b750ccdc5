"""Measures a student: its control step, what it learns from, and what rendering takes of both.

Speed does not depend on the weights, so they are drawn; images are rendered, prompts and labels made up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from rich.table import Table
from torch import nn

from mmnav.errors import choose
from mmnav.memory import keep_freed_memory
from mmnav.precision import native_precision
from mmnav.rig import Rig, random_day
from mmnav.scenes import ReachCfg, generate
from mmnav.vla import SCALES, MMNavConfig, MMNavForAction, make_student
from mmnav.vla.readout import CPU_ATTENTION
from mmnav.vla.sight import pool_features

from .machine import machine, print_table, spread, tell_machine

PACKAGES = ("torch", "transformers", "accelerate", "warp-lang")
ROBOTS = 64
"""Robots that are rendered and encoded at a time, and targets of a batch."""
CHUNK = 8
"""Targets of a chunk in end-to-end training."""
PAPER_HISTORY = {"nano": [1, 4], "nano-siglip": [2, 2]}
"""Grids of the 4 tokens a view of a history frame, as in the paper."""
ROUND_SECONDS = 2.0
"""A round lasts at least that long [s]."""

Work = Callable[[], int]
"""Does some of it and returns how much."""


def check_scale(scale: str) -> None:
    """Raises UserError if there is no such scale, or it needs a pretrained language model."""
    choose("scale", scale, {name: value for name, value in SCALES.items() if not value.needs_language})


def measure_student(scale: str, rounds: int, on_step: Callable[[str], None]) -> dict:
    """Measures a student of a scale that is built from scratch, on the CPU; the rounds of all parts take turns.

    Args:
        scale: One of :data:`mmnav.vla.SCALES` that :func:`check_scale` lets pass.
        rounds: Rounds of each part.
        on_step: Told what is being done.

    Returns:
        Machine, settings, one result for each part, and ratios: plain data.
    """
    keep_freed_memory()
    found = machine(PACKAGES)
    threads = torch.get_num_threads()
    parts = Workload(scale).parts
    rates: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, (work, alone) in parts.items():
            on_step(f"round {number} of {name}" if number else f"warming up {name}")
            torch.set_num_threads(1 if alone else threads)
            rate = _rate(work, ROUND_SECONDS if number else 0.0)
            if number:
                rates[name].append(rate)
    torch.set_num_threads(threads)
    ratio = lambda a, b: spread([x / y for x, y in zip(rates[a], rates[b], strict=True)])  # noqa: E731
    render, encode, act = (np.array(rates[name]) for name in ("render", "encode", "decide"))
    return {
        "benchmark": "student",
        "scale": scale,
        "machine": found,
        "torch_threads": threads,
        "rates": {name: spread(values) for name, values in rates.items()},
        "cached_to_not": ratio("control, one core", "control without a cache, one core"),
        "panorama_to_tokens": ratio("learn, tower frozen", "learn, tower frozen, the paper's tokens"),
        "narrow_to_plain": ratio("learn, tower frozen", "learn, tower frozen, plain transformers"),
        "frozen_to_end_to_end": ratio("learn, tower frozen", "learn, end to end"),
        "rendering_share": spread((1 / render / (1 / render + 1 / encode + 1 / act)).tolist()),
    }


class Workload:
    """A student of a scale with everything that its parts need to be measured."""

    def __init__(self, scale: str):
        """Makes the students, renders what they see, and makes up what they are asked and taught."""
        self.model, processor = make_student(scale)
        self.model.language_model.set_attn_implementation(CPU_ATTENTION)
        self.model.freeze_tower()
        self._rig, self._pose = _robots(self.model.config)
        self._images = processor.normalize(self._rig.render(*self._pose).rgb.clone())
        goals = 5.0 * torch.randn(ROBOTS, 1, 2)
        self._prompts, self._prompt = processor(goals=goals), processor(goals=goals[:1, 0])
        self._features = self._encoded(self.model)
        self._alone, self._many = self.model.new_memory(1), self.model.new_memory(ROBOTS)
        self._past = self._images[:1].repeat(len(self.model.config.history), 1, 1, 1, 1)

        paper, _ = make_student(scale, panorama_channels=0, history_grid=PAPER_HISTORY[scale])
        paper.language_model.set_attn_implementation(CPU_ATTENTION)
        paper.freeze_tower()
        plain, _ = make_student(scale)
        plain.freeze_tower()
        plain.read_out = lambda embeddings, mask, positions: _whole(plain.language_model, embeddings, mask, positions)
        whole, _ = make_student(scale)
        whole.language_model.set_attn_implementation(CPU_ATTENTION)
        self.parts: dict[str, tuple[Work, bool]] = {
            "control, one core": (self.control, True),
            "control without a cache, one core": (self.control_again, True),
            "render": (self.render, False),
            "encode": (self.encode, False),
            "decide": (self.decide, False),
            "learn, tower frozen": (_learning(self.model, self.windows(self.model)), False),
            "learn, tower frozen, the paper's tokens": (_learning(paper, self.windows(paper)), False),
            "learn, tower frozen, plain transformers": (_learning(plain, self.windows(plain)), False),
            "learn, end to end": (_learning(whole, self.chunks()), False),
        }
        """What is measured, and whether on one thread."""

    def _encoded(self, model: MMNavForAction) -> torch.Tensor:
        """What a student makes of the images."""
        with torch.inference_mode(), _autocast():
            features = model.encode(self._images)
        return features.clone()  # no inference tensor: gradients pass it

    def windows(self, model: MMNavForAction) -> dict[str, torch.Tensor]:
        """A batch of encoded windows of one target each."""
        config, features = model.config, self._encoded(model)
        times = len(config.history)
        return {
            **self._prompts,
            "current": features,
            "history": pool_features(features, config)[:, None].repeat(1, times, 1, 1, 1),
            "history_mask": torch.ones(ROBOTS, times, dtype=torch.bool),
            "moves": torch.zeros(ROBOTS, 1, len(config.look_back), 3),
            "command": torch.zeros(ROBOTS, 1, 3),
            "labels": torch.randn(ROBOTS, 1, 3),
        }

    def chunks(self) -> dict[str, torch.Tensor]:
        """A batch of chunks of images with as many targets in all."""
        count, length = ROBOTS // CHUNK, CHUNK + self.model.config.reach_back
        prompts = {name: value.unflatten(0, (count, CHUNK)).flatten(1, 2) for name, value in self._prompts.items()}
        return {
            **prompts,
            "pixel_values": self._images[:length].repeat(count, 1, 1, 1, 1).unflatten(0, (count, length)),
            "moves": torch.randn(count, CHUNK, len(self.model.config.look_back), 3),
            "command": torch.randn(count, CHUNK, 3),
            "labels": torch.randn(count, CHUNK, 3),
        }

    def control(self) -> int:
        """One robot's step."""
        self.model.eval()
        self.model.act(self._images[:1], **self._prompt, memory=self._alone)
        return 1

    def control_again(self) -> int:
        """One robot's step, if the frames of its history had to be encoded again."""
        self.model.eval()
        with torch.inference_mode():
            self.model.encode(self._past)
        return self.control()

    def render(self) -> int:
        """What all robots see."""
        self._rig.render(*self._pose)
        return ROBOTS

    def encode(self) -> int:
        """The features of what all robots see."""
        self.model.eval()
        with torch.inference_mode(), _autocast():
            self.model.encode(self._images)
        return ROBOTS

    def decide(self) -> int:
        """The velocities of all robots."""
        self.model.eval()
        with torch.inference_mode(), _autocast():
            robots = torch.arange(ROBOTS)
            history, seen = self._many.window(robots)
            text = {name: value[:, 0] for name, value in self._prompts.items()}
            moves, command = self._many.move(robots)
            self.model.decode(self._features, history, seen, **text, moves=moves, command=command)
        return ROBOTS


def _robots(config: MMNavConfig) -> tuple[Rig, tuple[torch.Tensor, ...]]:
    """The cameras of robots in as many worlds, and what places them."""
    scene = generate(ReachCfg(obstacles=(26, 26)), np.arange(ROBOTS))
    return Rig(config.rig, scene, look=random_day()), (*scene.start_poses(0.2), scene.position)


def _autocast() -> torch.autocast:
    """The precision that students have on this machine."""
    return torch.autocast("cpu", torch.bfloat16, enabled=native_precision("cpu") == "bf16")


def _learning(student: nn.Module, batch: dict[str, torch.Tensor]) -> Work:
    """Optimiser steps of a student on one batch, again and again."""
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], 1e-4)

    def step() -> int:
        student.train()
        with _autocast():
            loss = student(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return ROBOTS

    return step


def _whole(language_model: nn.Module, embeddings, mask, positions) -> torch.Tensor:
    """The last token's state, as transformers computes it: all tokens pass all layers, attention is torch's."""
    states = language_model(
        inputs_embeds=embeddings, attention_mask=mask.long(), position_ids=positions, use_cache=False
    )
    return states.last_hidden_state[:, -1]


def _rate(work: Work, seconds: float) -> float:
    """How much is done in a second."""
    done, started = 0, time.perf_counter()
    while True:
        done += work()
        passed = time.perf_counter() - started
        if passed >= seconds:
            return done / passed


def show(result: dict) -> None:
    """Prints the machine, the rates and the ratios."""
    rounds = len(result["rendering_share"]["rounds"])
    table = Table(title=f"{result['scale']}: medians of {rounds} rounds", title_justify="left")
    for column in ("measured", "a second", "min", "max"):
        table.add_column(column, justify="left" if column == "measured" else "right")
    units = {"control": "Hz", "learn": "targets", "render": "frames", "encode": "frames", "decide": "decisions"}
    for name, rate in result["rates"].items():
        cells = (f"{rate[key]:,.0f}" for key in ("median", "min", "max"))
        table.add_row(f"{name} [{units[name.split()[0].strip(',')]}]", *cells)
    print_table(table)
    told = {
        "cached_to_not": "control with the history cached / encoded again",
        "panorama_to_tokens": "learning, frames as a panorama / as the paper's tokens",
        "narrow_to_plain": "learning, ours / plain transformers",
        "frozen_to_end_to_end": "learning, tower frozen / end to end",
        "rendering_share": "rendering's share of a student's rollout (render, encode, decide)",
    }
    for name, words in told.items():
        value = result[name]
        print(f"{words}: {value['median']:.2f} ({value['min']:.2f} to {value['max']:.2f})")
    tell_machine(result["machine"], result["torch_threads"])
