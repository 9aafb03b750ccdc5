"""Policies by word: a trained expert's folder, or one of the baselines it is measured against."""

from __future__ import annotations

import torch
from tensordict import TensorDict

from mmnav.robot import ROBOT
from mmnav.scenes.oracle import OraclePolicy

from .agents.expert import check_fits, load_expert


def to_action(velocity: torch.Tensor) -> torch.Tensor:
    """Maps velocities [m/s, m/s, rad/s] to actions in [-1, 1], the inverse of the base's scaling; shape [E, 3]."""
    highest = torch.tensor(ROBOT.max_velocity, device=velocity.device)
    lowest = torch.tensor(ROBOT.min_velocity, device=velocity.device)
    return torch.where(velocity > 0.0, velocity / highest, -velocity / lowest).clamp(-1.0, 1.0)


class RandomPolicy:
    """Uniform actions, the same at every evaluation."""

    def reset(self, env) -> None:
        """Begins anew."""
        self._generator = torch.Generator(env.device).manual_seed(0)

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Actions, shape [E, 3]."""
        state = obs["state"]
        return 2.0 * torch.rand(len(state), 3, generator=self._generator, device=state.device) - 1.0


class StraightPolicy:
    """Turns towards the goal and drives at it, blind to everything between."""

    def reset(self, env) -> None:
        """Looks at the env's goals from now on."""
        self._world = env.world

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Actions, shape [E, 3]."""
        ahead, left = self._world.goal_offset.unbind(-1)
        bearing = torch.atan2(left, ahead)
        forward = (bearing.cos() * (bearing.abs() < 0.8)).clamp(min=0.0)
        return torch.stack([forward, torch.zeros_like(forward), (2.0 * bearing).clamp(-1.0, 1.0)], -1)


class OracleBaseline:
    """Plans with the whole layout and all movers' ways known, then follows the plan; see :mod:`mmnav.scenes.oracle`."""

    def reset(self, env) -> None:
        """Plans for the env's present layouts."""
        self._world = env.world
        self._oracle = OraclePolicy.of(env.world.scene.clone())

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Actions, shape [E, 3]."""
        return to_action(self._oracle(self._world.time, self._world.pose))


class ExpertPolicy:
    """A trained expert, checked against the env's observations first."""

    def __init__(self, path: str, device: str):
        """Loads the expert.

        Raises:
            mmnav.errors.UserError: If there is none, or it cannot be read.
        """
        self._path, self._expert = path, load_expert(path, device)

    def reset(self, env) -> None:
        """Checks that the env gives what the expert wants."""
        check_fits(self._expert, env.obs_buf, self._path)

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Mean actions, shape [E, 3]."""
        return self._expert(obs)


BASELINES = {"random": RandomPolicy, "straight": StraightPolicy, "oracle": OracleBaseline}
"""Baselines by the words that ``--policy`` takes."""


def make_policy(word: str, device: str):
    """The policy that a word of ``--policy`` stands for: a baseline's name or an expert's folder.

    Raises:
        mmnav.errors.UserError: If it is neither.
    """
    return BASELINES[word]() if word in BASELINES else ExpertPolicy(word, device)
