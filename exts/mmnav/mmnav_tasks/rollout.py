"""Rolling a policy out: one episode on every layout, and what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from tensordict import TensorDict

from mmnav.evaluate import OUTCOMES, Episode
from mmnav.evaluate.video import Recording
from mmnav.scenes import generate
from mmnav.scenes.geodesic import path_length

from .layouts import LayoutList

EVALUATION_SEEDS = -(10**12)
"""Evaluation seed s draws episode i's layout from this - s * 10^6 - i: no training run ever sees those."""


class Policy:
    """Who drives: maps observations to actions. What a policy need not be told, it need not define."""

    sees_colour = False
    """Whether it looks at the colour views, which then are rendered."""

    def prepare(self, cfg) -> None:
        """Gives an env's configuration what the policy needs, before there is an env."""

    def reset(self, env) -> None:
        """All robots of the unwrapped env begin an episode; forgets everything."""

    def attend(self, robots: torch.Tensor) -> None:
        """Only these robots count from now on, shape [N]; what the others do, nobody looks at."""

    def forget(self, robots: torch.Tensor) -> None:
        """New episodes began for some robots, shape [N]."""

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Actions in [-1, 1], shape [E, 3]."""
        raise NotImplementedError


def evaluation_layouts(seed: int, episodes: int) -> np.ndarray:
    """Layout seeds of an evaluation, shape [episodes], int64."""
    return EVALUATION_SEEDS - seed * 10**6 - np.arange(episodes, dtype=np.int64)


def run_episodes(
    env, policy: Policy, layouts: np.ndarray, seed: int, on_step: Callable[[int], None] | None = None
) -> list[Episode]:
    """Runs one episode on each layout, at full difficulty; the env's own stream of layouts is put back afterwards.

    Args:
        env: The unwrapped env. Under PhysX its layouts are fixed and must be these.
        policy: The policy; it is reset first.
        layouts: Layout seeds, at most one for each env, shape [N]; envs that are left over idle.
        seed: Seed of the dynamics' randomisation.
        on_step: Called after every step with the number of episodes that have ended.

    Returns:
        The episodes, in the layouts' order.
    """
    world, count = env.world, len(layouts)
    if not 1 <= count <= env.num_envs:
        raise ValueError(f"{count} layouts for {env.num_envs} envs; there must be an env for each.")
    before = world.layouts
    world.layouts = LayoutList(before.cfg, np.resize(layouts, env.num_envs))
    torch.manual_seed(seed)
    try:
        with torch.inference_mode(), without_curriculum(env), watched_by(env, policy):
            return _run(env, policy, layouts, on_step)
    finally:
        world.layouts = before


@contextlib.contextmanager
def without_curriculum(env) -> Iterator[None]:
    """Episodes that are reset inside do not count for the curriculum."""
    before, env.curriculum_manager = env.curriculum_manager, _Nothing()
    try:
        yield
    finally:
        env.curriculum_manager = before


def record_episodes(
    env,
    policy: Policy,
    layouts: np.ndarray,
    seed: int,
    titles: Mapping[int, str],
    on_step: Callable[[int], None] | None = None,
) -> list[Recording]:
    """Runs one episode on each layout, as :func:`run_episodes` does, and keeps what a video shows of some.

    Args:
        env: The unwrapped env.
        policy: The policy.
        layouts: Layout seeds, shape [N].
        seed: Seed of the dynamics' randomisation.
        titles: What to say above the episodes that are kept, by their index.
        on_step: As for :func:`run_episodes`.
    """
    world, frames, rows = env.world, [], torch.tensor(list(titles), device=env.device)

    def keep(ended: int) -> None:
        rgb = [env.obs_buf["rgb"]] if "rgb" in env.obs_buf else []  # a new env has none before its first step
        seen = (world.pose, world.geom_position, world.depth, *rgb)
        frames.append([a[rows].cpu().numpy() for a in seen])
        if on_step is not None:
            on_step(ended)

    episodes = run_episodes(env, policy, layouts, seed, keep)
    scenes = generate(world.layouts.cfg, layouts[list(titles)])
    recordings = []
    for i, (index, title) in enumerate(titles.items()):
        episode = episodes[index]
        steps = round(episode.time / env.step_dt)
        # what is seen after an episode's last step is the next episode's start: the last frame is the one before
        kept = frames[: max(steps - 1, 1)]
        pose, geoms, depth, *rest = (np.stack([frame[a][i] for frame in kept]) for a in range(len(kept[0])))
        seen = (pose, geoms, depth, episode.outcome, env.step_dt, env.step_dt, episode.time, *rest)
        recordings.append(Recording(title, scenes[i : i + 1], *seen))
    return recordings


@contextlib.contextmanager
def watched_by(env, policy: Policy | None, recorded: bool = False) -> Iterator[None]:
    """Colour views are rendered inside only if they are recorded or the policy looks at them, as students do."""
    env.world.colour_wanted.fill_(recorded or (policy is not None and policy.sees_colour))
    try:
        yield
    finally:
        env.world.colour_wanted.fill_(True)


class _Nothing:
    """Stands for the curriculum while episodes do not count for it."""

    def compute(self, env_ids=None):
        pass

    def reset(self, env_ids=None):
        return {}


def _run(env, policy: Policy, layouts: np.ndarray, on_step) -> list[Episode]:
    world, count = env.world, env.num_envs
    obs, _ = env.reset()
    policy.reset(env)
    shortest = path_length(world.scene)
    ended = torch.arange(count, device=env.device) >= len(layouts)
    steps, length, clearance = (torch.zeros(count, device=env.device) for _ in range(3))
    outcome = torch.zeros(count, dtype=torch.long, device=env.device)
    for step in range(1, env.max_episode_length + 1):
        # an env that has ended goes on with another episode, which nobody looks at
        policy.attend((~ended).nonzero().flatten())
        obs, *_ = env.step(policy(TensorDict(obs, batch_size=count)))
        for index, name in enumerate(OUTCOMES):
            now = env.termination_manager.get_term(name) & ~ended
            outcome[now], steps[now] = index, step
            length[now], clearance[now] = world.ended_path_length[now], world.ended_clearance[now]
            ended |= now
        world.colour_wanted &= ~ended
        if on_step is not None:
            on_step(int(ended[: len(layouts)].sum()))
        if bool(ended.all()):
            break
    return [
        Episode(
            layout=int(layouts[i]),
            outcome=OUTCOMES[int(outcome[i])],
            time=round(float(steps[i]) * env.step_dt, 3),
            path_length=round(float(length[i]), 4),
            shortest=round(float(shortest[i]), 4),
            clearance=round(float(clearance[i]), 4),
        )
        for i in range(len(layouts))
    ]
