"""Observations: the privileged panorama of depth, the base's state, and what only the critic may see."""

from __future__ import annotations

from collections.abc import Callable

import torch
from isaaclab.managers import ManagerTermBase, ObservationTermCfg

from mmnav.depth import encode_depth
from mmnav.rig import LookCfg, Rig, RigCfg
from mmnav.rig.panorama import encode_panorama


def panorama(env) -> torch.Tensor:
    """Encoded depth of the four views and the velocity of the nearest surface, column by column, clockwise.

    Returns:
        Shape [E, 4 W, H + 2]: for each column H encoded depths from top to bottom, then the forward and leftward
        velocity [m/s] of the surface that its nearest pixel hits, in the base's frame; 0 for what stands still.
    """
    world = env.world
    return encode_panorama(world.free_depth, world.surface_velocity)


def scan(env) -> torch.Tensor:
    """Encoded depth of each column's nearest pixel, shape [E, 4 W]."""
    return encode_depth(env.world.free_depth.amin(dim=2))


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


class Trail(ManagerTermBase):
    """Where the base was some time ago, in its present frame: place / 3 m, clipped to [-3, 3]; shape [E, 2 n].

    Odometry knows as much. A policy without a memory of its own tells from it that it got stuck, and where it came
    from. Times before the episode's start count as the start.

    Params:
        seconds: How long ago [s], n values.
    """

    def __init__(self, cfg: ObservationTermCfg, env):
        super().__init__(cfg, env)
        self._ago = torch.tensor([round(ago / env.step_dt) for ago in cfg.params["seconds"]], device=env.device)
        self._envs = torch.arange(env.num_envs, device=env.device)
        # a ring over the steps
        self._places = torch.zeros(env.num_envs, int(self._ago.max()) + 1, 2, device=env.device)

    def reset(self, env_ids=None) -> None:
        """Fills the trail with the start."""
        env_ids = slice(None) if env_ids is None else env_ids
        self._places[env_ids] = self._env.world.place[env_ids, None]

    def __call__(self, env, seconds: tuple[float, ...]) -> torch.Tensor:
        """Notes the present place and looks back."""
        ring = self._places.shape[1]
        now = env.episode_length_buf.long() % ring
        here = env.world.place
        self._places[self._envs, now] = here
        past = self._places[self._envs[:, None], (now[:, None] - self._ago) % ring]
        return (env.world.to_base(past - here[:, None]) / 3.0).clamp(-3.0, 3.0).flatten(1)


def clearance(env) -> torch.Tensor:
    """Distance from the base to the nearest surface [m], shape [E, 1]."""
    return env.world.clearance[:, None]


def way_to_go(env) -> torch.Tensor:
    """Length of the way that progress counts along / 10 m, shape [E, 1]."""
    return env.world.way_to_go[:, None] / 10.0


def elapsed(env) -> torch.Tensor:
    """Share of the episode's time that is over, shape [E, 1]."""
    return (env.episode_length_buf / env.max_episode_length)[:, None]


def movers(env, count: int) -> torch.Tensor:
    """The nearest movers in the base's frame: place / 3 m (2), velocity (2) and radius, shape [E, 5 count]."""
    return env.world.nearest_movers(count)


class Rgb(ManagerTermBase):
    """Colour of a rig's cameras, planar, shape [E, C, 3, H, W], uint8.

    Every reset gives a world new looks and cameras, by its layout's seed.

    Params:
        rig: Makes the rig from its width and height, such as :func:`mmnav.rig.fisheye_rig`.
        width: Columns of each view [px].
        height: Rows of each view [px].
        look: Makes the ranges of the looks, such as :func:`mmnav.rig.random_day`.
    """

    def __init__(self, cfg: ObservationTermCfg, env):
        super().__init__(cfg, env)
        p = cfg.params
        self._rig = Rig(p["rig"](p["width"], p["height"]), env.world.scene, look=p["look"]())
        self._seen_at = -1

    def reset(self, env_ids=None) -> None:
        """Draws the looks of the worlds that are new."""
        self._rig.reset(env_ids)
        self._seen_at = -1

    def __call__(
        self, env, rig: Callable[[int, int], RigCfg], width: int, height: int, look: Callable[[], LookCfg]
    ) -> torch.Tensor:
        """Renders, once a step."""
        world = env.world
        if self._seen_at != env.common_step_counter:
            self._rig.watch(world.colour_wanted)
            self._rig.render(*world.base_pose, world.geom_position)
            self._seen_at = env.common_step_counter
        return self._rig.images.rgb
