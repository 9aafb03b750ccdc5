"""Reward terms. Isaac Lab multiplies each by its weight and the step [s], so rates weigh per second.

An event counts once whatever the step is: its term is one over the step.
"""

from __future__ import annotations

import torch


def progress(env) -> torch.Tensor:
    """Speed of approach to the goal [m/s]."""
    return env.world.progress / env.step_dt


def success(env) -> torch.Tensor:
    """One for arriving at the goal."""
    return env.termination_manager.get_term("success").float() / env.step_dt


def collision(env) -> torch.Tensor:
    """One for touching something."""
    return env.termination_manager.get_term("collision").float() / env.step_dt


def alive(env) -> torch.Tensor:
    """One a second."""
    return torch.ones(env.num_envs, device=env.device)


def proximity(env, distance: float) -> torch.Tensor:
    """How deep the base's clearance is inside ``distance`` [m]: 0 at that distance, 1 at contact."""
    return (1.0 - env.world.clearance / distance).clamp(0.0, 1.0)


def backward(env) -> torch.Tensor:
    """Speed of driving backwards [m/s]: half as fast as forwards, so a habit worth breaking."""
    return (-env.action_manager.get_term("velocity").velocity[:, 0]).clamp(min=0.0)


def action_change(env) -> torch.Tensor:
    """Squared change of the action."""
    return env.action_manager.get_term("velocity").change.square().sum(-1)


def action_excess(env) -> torch.Tensor:
    """Squared part of the action beyond [-1, 1], where it has no effect."""
    action = env.action_manager.get_term("velocity")
    return (action.raw_actions - action.processed_actions).square().sum(-1).clamp(max=4.0)
