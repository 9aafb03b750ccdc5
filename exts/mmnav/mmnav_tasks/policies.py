"""Policies by word: an expert's or a student's folder, or one of the baselines they are measured against."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tensordict import TensorDict

import mmnav
from mmnav import files
from mmnav.errors import UserError
from mmnav.robot import ROBOT
from mmnav.scenes.oracle import OraclePolicy
from mmnav.vla import MMNavConfig, MMNavForAction, MMNavProcessor, load_student

from .agents.expert import check_fits, load_expert
from .rollout import Policy


def to_action(velocity: torch.Tensor) -> torch.Tensor:
    """Maps velocities [m/s, m/s, rad/s] to actions in [-1, 1], the inverse of the base's scaling; shape [E, 3]."""
    highest = torch.tensor(ROBOT.max_velocity, device=velocity.device)
    lowest = torch.tensor(ROBOT.min_velocity, device=velocity.device)
    return torch.where(velocity > 0.0, velocity / highest, -velocity / lowest).clamp(-1.0, 1.0)


def to_velocity(action: torch.Tensor) -> torch.Tensor:
    """Maps actions in [-1, 1] to velocities [m/s, m/s, rad/s], as the base does; shape [E, 3]."""
    highest = torch.tensor(ROBOT.max_velocity, device=action.device)
    lowest = torch.tensor(ROBOT.min_velocity, device=action.device)
    return torch.where(action > 0.0, action * highest, -action * lowest)


class RandomPolicy(Policy):
    """Uniform actions, the same at every evaluation."""

    def reset(self, env) -> None:
        """Begins anew."""
        self._generator = torch.Generator(env.device).manual_seed(0)

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Actions, shape [E, 3]."""
        state = obs["state"]
        return 2.0 * torch.rand(len(state), 3, generator=self._generator, device=state.device) - 1.0


class StraightPolicy(Policy):
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


class OracleBaseline(Policy):
    """Plans with the whole layout and all movers' ways known, then follows the plan; see :mod:`mmnav.scenes.oracle`."""

    def reset(self, env) -> None:
        """Plans for the env's present layouts."""
        self._world = env.world
        self._oracle = OraclePolicy.of(env.world.scene.clone())

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Actions, shape [E, 3]."""
        return to_action(self._oracle(self._world.time, self._world.pose))


class ExpertPolicy(Policy):
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


class StudentPolicy(Policy):
    """A distilled student: it sees the colour views, reads its goal from a prompt, and knows its last commands."""

    sees_colour = True

    def __init__(self, model: MMNavForAction, processor: MMNavProcessor, precision: str = "fp32"):
        """Takes a student; ``precision`` is ``fp32`` or ``bf16``."""
        self.model, self.processor = model, processor
        self._half = precision == "bf16"

    def prepare(self, cfg) -> None:
        """Gives an env's configuration the cameras that the student was made for.

        Raises:
            UserError: If the env's control steps are not as long as those that the student was made for.
        """
        config = self.model.config
        step = cfg.sim.dt * cfg.decimation
        if abs(step - config.control_step) > 1e-6:
            raise UserError(
                f"control_step is {config.control_step} s in the student's config.json; the task's: {step} s."
            )
        (height, width), (down, across) = config.image_size, config.field_of_view
        cfg.rgb_views, cfg.rgb_field, cfg.rgb_samples = (width, height), (across, down), config.samples

    def reset(self, env) -> None:
        """Forgets everything; all robots of the env count from now on."""
        self._world, self._driver = env.world, env.action_manager.get_term("velocity")
        self._memory = self.model.new_memory(env.num_envs)
        self._robots = torch.arange(env.num_envs, device=env.device)

    def attend(self, robots: torch.Tensor) -> None:
        """Spends no more thought on other robots than these, shape [N]."""
        self._robots = robots

    def forget(self, robots: torch.Tensor) -> None:
        """New episodes began for some robots, shape [N]."""
        self._memory.reset(robots)

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Actions, shape [E, 3]; 0 for robots that nobody attends to."""
        robots = self._robots
        images = obs["rgb"][robots, : self.model.config.view_count]
        inputs = self.processor(images=images, goals=self._world.goal_offset[robots])
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._half):
            command = to_velocity(self._driver.processed_actions[robots])  # the expert's, where that drove
            velocity = self.model.act(**inputs, memory=self._memory, robots=robots, command=command)
        action = torch.zeros(len(obs["rgb"]), 3, device=velocity.device)
        action[robots] = to_action(velocity)
        return action


BASELINES = {"random": RandomPolicy, "straight": StraightPolicy, "oracle": OracleBaseline}
"""Baselines by the words that ``--policy`` takes."""


def make_policy(word: str, device: str, precision: str = "fp32") -> Policy:
    """The policy that a word of ``--policy`` stands for: a baseline's name, an expert's or a student's folder.

    Args:
        word: It.
        device: Where it thinks.
        precision: Of a student's arithmetic, ``fp32`` or ``bf16``.

    Raises:
        mmnav.errors.UserError: If it is none of them.
    """
    if word in BASELINES:
        return BASELINES[word]()
    if is_student(word):
        return StudentPolicy(*load_student(word, device), precision)
    return ExpertPolicy(word, device)


def is_student(folder: str) -> bool:
    """Whether a folder holds a student, by what its ``config.json`` says."""
    try:
        return json.loads((Path(folder) / "config.json").read_text()).get("model_type") == MMNavConfig.model_type
    except (OSError, ValueError, AttributeError):
        return False


def fingerprint(word: str) -> str:
    """What tells a policy from others under the same word, or under other code: digits for its files and ours."""
    folders = [Path(mmnav.__file__).parent, Path(__file__).parent, *([] if word in BASELINES else [Path(word)])]
    return " ".join(map(files.fingerprint, folders))


def prepare(cfg, policies: dict[str, Policy]) -> None:
    """Gives an env's configuration the cameras that its policies need.

    Raises:
        UserError: If two students were made for different cameras, or one for other control steps.
    """
    seen: dict[str, tuple] = {}
    for word, policy in policies.items():
        policy.prepare(cfg)
        if policy.sees_colour:
            seen[word] = (cfg.rgb_views, cfg.rgb_field, cfg.rgb_samples)
    if len(set(seen.values())) > 1:
        raise UserError(f"{', '.join(seen)} were made for different cameras; evaluate them one after the other.")
