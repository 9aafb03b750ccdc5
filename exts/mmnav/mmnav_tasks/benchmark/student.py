"""Measures a student: its control step, what it learns from, and what rendering takes of a rollout.

It learns as a distillation does, from drawn steps, in its batches and by its optimiser. Speed depends neither on the
weights, which are drawn, nor on what the robots did, which is made up; what they see is rendered.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from rich.table import Table
from torch import nn

from mmnav.data import Demo, Frames, Replay
from mmnav.distill.samples import ChunkSamples, StepDraw, WindowSamples
from mmnav.distill.settings import DistillCfg
from mmnav.distill.trainer import Samples, Trainer, TrainerCfg
from mmnav.errors import choose
from mmnav.memory import keep_freed_memory
from mmnav.precision import native_precision
from mmnav.rig import Rig, random_day
from mmnav.robot import ROBOT
from mmnav.scenes import ReachCfg, as_record, generate
from mmnav.vla import SCALES, MMNavConfig, make_student
from mmnav.vla.readout import CPU_ATTENTION
from mmnav.vla.sight import feature_dim

from .machine import machine, print_table, spread, tell_machine

PACKAGES = ("torch", "transformers", "accelerate", "warp-lang")
ROBOTS = 64
"""Robots that are rendered and encoded at a time; each has an episode to learn from."""
STEPS = 60
"""Steps of an episode."""
CHUNKS = 16
"""Chunks of a batch in end-to-end training."""
PAPER_HISTORY = {"nano": [1, 4], "nano-siglip": [2, 2]}
"""Grids of the 4 tokens a view of a history frame, as in the paper."""
ROUND_SECONDS = 2.0
"""A round lasts at least that long [s]."""

Work = Callable[[], int]
"""Does some of it and returns how much."""


def check_scale(scale: str) -> None:
    """Raises UserError if there is no such scale, or it needs something pretrained."""
    choose("scale", scale, {name: value for name, value in SCALES.items() if not value.needs})


def measure_student(scale: str, cfg: DistillCfg, rounds: int, on_step: Callable[[str], None]) -> dict:
    """Measures a student of a scale that is built from scratch, on the CPU; the rounds of all parts take turns.

    Args:
        scale: One of :data:`mmnav.vla.SCALES` that :func:`check_scale` lets pass.
        cfg: How a distillation of that scale learns.
        rounds: Rounds of each part.
        on_step: Told what is being done.

    Returns:
        Machine, settings, one result for each part, and ratios: plain data.
    """
    keep_freed_memory()
    found = machine(PACKAGES)
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        parts = Workload(scale, cfg, Path(folder)).parts
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

    def __init__(self, scale: str, cfg: DistillCfg, folder: Path):
        """Makes the students, renders what they see, and makes up what they are asked and taught.

        Args:
            scale: Their scale.
            cfg: How they learn.
            folder: For what trainers write.
        """
        self.model, processor = make_student(scale)
        self.model.language_model.set_attn_implementation(CPU_ATTENTION)
        self.model.freeze_tower()
        self._rig, self._pose = _robots(self.model.config)
        self._images = processor.normalize(self._rig.render(*self._pose).rgb.clone())
        goals = 5.0 * torch.randn(ROBOTS, 1, 2)
        self._prompts, self._prompt = processor(goals=goals), processor(goals=goals[:1, 0])
        with torch.inference_mode(), _autocast():
            self._features = self.model.encode(self._images)
        self._alone, self._many = self.model.new_memory(1), self.model.new_memory(ROBOTS)
        self._past = self._images[:1].repeat(len(self.model.config.history), 1, 1, 1, 1)

        self.parts: dict[str, tuple[Work, bool]] = {
            "control, one core": (self.control, True),
            "control without a cache, one core": (self.control_again, True),
            "render": (self.render, False),
            "encode": (self.encode, False),
            "decide": (self.decide, False),
            **{f"learn, {name}": (work, False) for name, work in _learners(scale, cfg, folder).items()},
        }
        """What is measured, and whether on one thread."""

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


def _learners(scale: str, cfg: DistillCfg, folder: Path) -> dict[str, Work]:
    """Students that learn from the same episodes: ours, on the paper's tokens, in plain transformers, from frames."""
    frames = Frames(_drives())
    draw = StepDraw(frames, [frames.families[0]], [1.0], seed=0)
    learners = {}
    for name, changes in {
        "tower frozen": {},
        "tower frozen, the paper's tokens": {"panorama_channels": 0, "history_grid": PAPER_HISTORY[scale]},
        "tower frozen, plain transformers": {},
        "end to end": {},
    }.items():
        model, processor = make_student(scale, **changes)
        if name.endswith("plain transformers"):
            model.read_out = partial(_whole, model.language_model)
        else:
            model.language_model.set_attn_implementation(CPU_ATTENTION)
        model.freeze_tower(name != "end to end")
        if name == "end to end":
            viewer = partial(Replay, model.config.rig, random_day())
            samples = ChunkSamples(frames, draw, viewer, processor, model.config, cfg.chunk, seed=0)
            learners[name] = _learning(model, samples, replace(cfg.offline, batch=CHUNKS), folder / name, cfg.chunk)
        else:
            cells = model.config.current_grid[0] * model.config.current_grid[1]
            features = torch.randn(len(frames), model.config.view_count, cells, feature_dim(model.config)).bfloat16()
            samples = WindowSamples(frames, features, draw, processor, model.config)
            learners[name] = _learning(model, samples, cfg.offline, folder / name)
    return learners


def _learning(student: nn.Module, samples: Samples, cfg: TrainerCfg, folder: Path, targets: int = 1) -> Work:
    """Optimiser steps of a student on fresh samples of so many targets each."""
    precision = "bf16" if native_precision("cpu") == "bf16" else "no"
    trainer = Trainer(student, samples, cfg, folder, Accelerator(cpu=True, mixed_precision=precision))

    def step() -> int:
        student.train()
        trainer.update()
        trainer.step += 1
        return cfg.batch * targets

    return step


def _drives() -> list[Demo]:
    """Episodes of robots that drive straight at their goals, as many as there are robots."""
    cfg = ReachCfg()
    scene = generate(cfg, np.arange(ROBOTS))
    position, orientation = (part.numpy() for part in scene.start_poses(ROBOT.center_height))
    time = np.arange(STEPS, dtype=np.float32) * 0.1
    velocity = np.repeat(np.float32([[0.8, 0.0, 0.0]]), STEPS, 0)
    demos = []
    for i in range(ROBOTS):
        way = scene.goal[i].numpy() - position[i, :2]
        left = np.linalg.norm(way) - velocity[:, 0] * time
        place = position[i] + np.pad(way / np.linalg.norm(way), (0, 1)) * (velocity[:, :1] * time[:, None])
        demo = Demo(
            scene=as_record(cfg),
            layout=i,
            difficulty=1.0,
            outcome="success",
            labels="nobody",
            root_pose=np.concatenate([place, np.tile(orientation[i], (STEPS, 1))], -1).astype(np.float32),
            velocity=velocity,
            goal=np.stack([left, 0.0 * left], -1).astype(np.float32),
            time=time,
            expert_action=velocity + np.random.default_rng(i).normal(0.0, 0.3, velocity.shape).astype(np.float32),
            action=velocity,
            by_expert=np.ones(STEPS, np.uint8),
            reward=np.zeros(STEPS, np.float32),
        )
        demos.append(demo)
    return demos


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
