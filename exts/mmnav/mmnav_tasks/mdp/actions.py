"""Actions: a base commanded in velocity, with the lag and the acceleration limits of a walking robot."""

from __future__ import annotations

from dataclasses import MISSING

import torch
from isaaclab.managers import ActionTerm, ActionTermCfg
from isaaclab.utils import configclass

from mmnav.robot import ROBOT


class BaseVelocityAction(ActionTerm):
    """Maps actions in [-1, 1] to velocity limits and follows them through a first-order lag with limited acceleration.

    The action is (forward, leftward, yaw); 0 is standing still, and each side of 0 is scaled to its own limit.
    """

    cfg: BaseVelocityActionCfg

    def __init__(self, cfg: BaseVelocityActionCfg, env):
        super().__init__(cfg, env)
        shape = (self.num_envs, 3)
        self._raw = torch.zeros(shape, device=self.device)
        self._clipped = torch.zeros(shape, device=self.device)
        self._target = torch.zeros(shape, device=self.device)
        self._twist = torch.zeros(self.num_envs, 6, device=self.device)
        self._highest = torch.tensor(ROBOT.max_velocity, device=self.device)
        self._lowest = torch.tensor(ROBOT.min_velocity, device=self.device)
        self.velocity = torch.zeros(shape, device=self.device)
        """Velocity of the base in its own frame [m/s, m/s, rad/s], shape [E, 3]."""
        self.change = torch.zeros(shape, device=self.device)
        """Change of the clipped action since the step before, shape [E, 3]."""
        self._follow = torch.ones(self.num_envs, 1, device=self.device)
        self._gain = torch.ones(self.num_envs, 1, device=self.device)
        self._acceleration = torch.tensor(cfg.acceleration, device=self.device).repeat(self.num_envs, 1)

    @property
    def action_dim(self) -> int:
        """Forward, leftward and yaw velocity."""
        return 3

    @property
    def raw_actions(self) -> torch.Tensor:
        """Actions as the policy gave them, shape [E, 3]."""
        return self._raw

    @property
    def processed_actions(self) -> torch.Tensor:
        """Actions clipped to [-1, 1], shape [E, 3]."""
        return self._clipped

    def process_actions(self, actions: torch.Tensor) -> None:
        """Clips and scales the policy's actions; a NaN stands for standing still."""
        self._raw[:] = actions.nan_to_num(0.0)
        clipped = self._raw.clamp(-1.0, 1.0)
        torch.sub(clipped, self._clipped, out=self.change)
        self._clipped[:] = clipped
        torch.where(clipped > 0.0, clipped * self._highest, -clipped * self._lowest, out=self._target)
        self._target *= self._gain

    def apply_actions(self) -> None:
        """Advances the base's velocity by one physics step and writes it to the simulation."""
        dt = self._env.physics_dt
        limit = self._acceleration * dt
        self.velocity += torch.clamp((self._target - self.velocity) * self._follow, -limit, limit)
        heading = self._env.world.heading() + 0.5 * dt * self.velocity[:, 2]
        cos, sin = heading.cos(), heading.sin()
        self._twist[:, 0] = cos * self.velocity[:, 0] - sin * self.velocity[:, 1]
        self._twist[:, 1] = sin * self.velocity[:, 0] + cos * self.velocity[:, 1]
        self._twist[:, 5] = self.velocity[:, 2]
        self._asset.write_root_velocity_to_sim_index(root_velocity=self._twist)
        self._env.world.advance(dt)

    def reset(self, env_ids=None) -> None:
        """Stops the base and draws its dynamics anew."""
        env_ids = slice(None) if env_ids is None else env_ids
        for buffer in (self._raw, self._clipped, self.velocity, self.change):
            buffer[env_ids] = 0.0
        cfg, dt = self.cfg, self._env.physics_dt
        spread = torch.rand_like(self._acceleration[env_ids])
        nominal = torch.tensor(cfg.acceleration, device=self.device)
        self._acceleration[env_ids] = nominal * _between(cfg.acceleration_scale, spread)
        self._follow[env_ids] = 1.0 - torch.exp(-dt / _between(cfg.time_constant, spread[:, :1]))
        self._gain[env_ids] = _between(cfg.gain, spread[:, 1:2])


def _between(bounds: tuple[float, float], share: torch.Tensor) -> torch.Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * share


@configclass
class BaseVelocityActionCfg(ActionTermCfg):
    """A base commanded in velocity; ranges are drawn anew at every reset."""

    class_type: type = BaseVelocityAction
    asset_name: str = MISSING
    time_constant: tuple[float, float] = (0.75 * ROBOT.time_constant, 1.25 * ROBOT.time_constant)
    """Range of the first-order lag's time constant [s]."""
    acceleration: tuple[float, float, float] = ROBOT.acceleration
    """Nominal acceleration limits [m/s^2, m/s^2, rad/s^2]."""
    acceleration_scale: tuple[float, float] = (0.8, 1.2)
    """Range of the factor on the acceleration limits, drawn for each axis."""
    gain: tuple[float, float] = (0.95, 1.05)
    """Range of the factor on the commanded velocity."""
