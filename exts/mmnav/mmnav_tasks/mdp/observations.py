"""Observations: the privileged panorama of depth, the base's state, and what only the critic may see."""

from __future__ import annotations

import torch


def encode_depth(depth: torch.Tensor) -> torch.Tensor:
    """Maps depth [m] so that what is near spreads out: 1 / (d + 0.3) - 0.6."""
    return torch.reciprocal(depth + 0.3).sub_(0.6)


def panorama(env) -> torch.Tensor:
    """Encoded depth of the four views and the velocity of the nearest surface, column by column, clockwise.

    Returns:
        Shape [E, H + 2, 4 W]: H rows of encoded depth, then the forward and leftward velocity [m/s] of the surface that
        the column's nearest pixel hits, in the base's frame; 0 for what stands still.
    """
    world = env.world
    return torch.cat([encode_depth(world.depth), world.surface_velocity], dim=1)


def scan(env) -> torch.Tensor:
    """Encoded depth of each column's nearest pixel, shape [E, 4 W]."""
    return encode_depth(env.world.nearest_depth)


def goal(env) -> torch.Tensor:
    """Goal in the base's frame: direction (2), distance / 10 m, and a near-field code 1 / (d + 0.5), shape [E, 4]."""
    offset = env.world.goal_offset
    distance = env.world.goal_distance[:, None]
    return torch.cat([offset / distance.clamp(min=1e-3), distance / 10.0, 1.0 / (distance + 0.5)], dim=-1)


def velocity(env) -> torch.Tensor:
    """Velocity of the base in its own frame [m/s, m/s, rad/s], shape [E, 3]."""
    return env.action_manager.get_term("velocity").velocity


def last_action(env) -> torch.Tensor:
    """Action of the step before, clipped to [-1, 1], shape [E, 3]."""
    return env.action_manager.get_term("velocity").processed_actions


def clearance(env) -> torch.Tensor:
    """Distance from the base to the nearest surface [m], shape [E, 1]."""
    return env.world.clearance[:, None]


def elapsed(env) -> torch.Tensor:
    """Share of the episode's time that is over, shape [E, 1]."""
    return (env.episode_length_buf / env.max_episode_length)[:, None]


def movers(env, count: int) -> torch.Tensor:
    """The nearest movers in the base's frame: place / 3 m (2), velocity (2) and radius, shape [E, 5 count]."""
    return env.world.nearest_movers(count)
