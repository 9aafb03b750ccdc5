"""Experts on disk: a folder with ``model.safetensors`` and ``config.json``, which no loading ever unpickles."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from rsl_rl.models import MLPModel
from rsl_rl.utils import resolve_class
from safetensors.torch import load_file, save_file
from tensordict import TensorDict

from mmnav.errors import UserError
from mmnav.files import fresh_folder, replace_folder

from ..rollout import Policy

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass
class Expert(Policy):
    """A trained actor that maps observations to actions."""

    actor: MLPModel
    config: dict
    """What ``config.json`` holds: task, model, observation shapes, and how it was trained."""

    @torch.inference_mode()
    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """The mean action in [-1, 1] for each env, shape [E, 3]."""
        return self.actor(obs).clamp(-1.0, 1.0)


def save_expert(folder: Path, actor: MLPModel, config: dict) -> None:
    """Writes an expert; a folder of that name is replaced only when the new one is complete.

    Args:
        folder: Where to.
        actor: The network.
        config: Plain data that :func:`load_expert` rebuilds the network from; see :func:`expert_config`.
    """
    fresh = fresh_folder(folder)
    save_file({k: v.detach().cpu().contiguous() for k, v in actor.state_dict().items()}, fresh / WEIGHTS)
    (fresh / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    replace_folder(folder)


def expert_config(task: str, agent: dict, obs: TensorDict, training: dict) -> dict:
    """What :func:`save_expert` needs to know.

    Args:
        task: Short name of the task it was trained on.
        agent: The agent configuration as a dictionary.
        obs: Observations of the env, for the shapes.
        training: Plain data on how it was trained (seed, iteration, success).
    """
    groups = agent["obs_groups"]["actor"]
    return {
        "format": 1,
        "task": task,
        "obs_groups": list(groups),
        "obs_shapes": {group: list(obs[group].shape[1:]) for group in groups},
        "action_dim": 3,
        "actor": agent["actor"],
        "training": training,
    }


def load_expert(path: str | os.PathLike, device: str = "cpu") -> Expert:
    """Reads an expert.

    Args:
        path: Its folder.
        device: Where to put it.

    Raises:
        UserError: If there is none, or it is broken or of another format.
    """
    folder = Path(path)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no expert there ({name} is missing).")
    try:
        config = json.loads((folder / CONFIG).read_text())
        weights = load_file(folder / WEIGHTS)
        if config["format"] != 1:
            raise UserError(f"{folder / CONFIG}: format {config['format']} is unknown; this version reads 1.")
        model_class, arguments = resolve_class(dict(config["actor"]))
        sample = TensorDict({k: torch.zeros(1, *s) for k, s in config["obs_shapes"].items()}, batch_size=1)
        actor = model_class(sample, {"actor": config["obs_groups"]}, "actor", config["action_dim"], **arguments)
        actor.load_state_dict(weights)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{folder}: the expert cannot be read ({type(error).__name__}: {error}).") from error
    return Expert(actor.to(device).eval(), config)


def check_fits(expert: Expert, obs: TensorDict, where: str) -> None:
    """Checks that an expert takes the observations that an env gives.

    Raises:
        UserError: If a group is missing or has another shape.
    """
    for group, shape in expert.config["obs_shapes"].items():
        if group not in obs.keys():
            raise UserError(f"{where}: the expert wants an observation {group!r}, which this task does not give.")
        if list(obs[group].shape[1:]) != shape:
            raise UserError(
                f"{where}: the expert wants {group!r} of shape {shape}; this task gives {list(obs[group].shape[1:])}."
            )
