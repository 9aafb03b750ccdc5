"""Events: a new layout at every reset."""

from __future__ import annotations


def reset_world(env, env_ids) -> None:
    """Gives each of ``env_ids`` its next layout and puts the base at its start."""
    env.world.reset(env_ids)
