"""Terminations: arrived, collided, out of time."""

from __future__ import annotations

import torch


def success(env, radius: float) -> torch.Tensor:
    """Whether the base is within ``radius`` [m] of the goal and touches nothing."""
    return (env.world.goal_distance < radius) & ~env.world.collided


def collision(env) -> torch.Tensor:
    """Whether the base touches anything, or its state is not finite."""
    return env.world.collided


def time_out(env) -> torch.Tensor:
    """Whether the episode's time is over, and nothing else ended it at the same step."""
    late = env.episode_length_buf >= env.max_episode_length
    return late & ~env.termination_manager.get_term("success") & ~env.termination_manager.get_term("collision")
