"""Collect: robots of all capabilities side by side, driven by a student or by experts, every step labelled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from tensordict import TensorDict

from mmnav.data import Demo
from mmnav.data.pixels import encode_pixels
from mmnav.errors import UserError
from mmnav.evaluate import OUTCOMES
from mmnav.scenes import as_record

from .layouts import LAYOUT_SEEDS, BlendedStreams
from .policies import to_velocity
from .rollout import Policy, watched_by, without_curriculum

_RANK_LAYOUTS, _ROUND_LAYOUTS = 10**7, 10**4
"""Layouts that are kept for a process and for each of its rounds; a run has the upper half of its seed's.

A round of over a thousand robots of one family may use up its own and begin on the next round's.
"""

_STEP_FIELDS = ("root_pose", "velocity", "goal", "time", "expert_action", "action", "by_expert", "reward")


class Collector:
    """Rolls out in an env of ``Mmnav-Distill`` and cuts what happens into episodes.

    Every env has a capability: a scene family and the expert that labels every state there, whoever drives.
    """

    def __init__(self, env, experts: dict[str, Policy], seed: int = 0, rank: int = 0):
        """Takes an env.

        Args:
            env: The unwrapped env.
            experts: An expert for each family of the env's blend, by the family's name, in the blend's order.
            seed: Seed of the layouts and of who drives.
            rank: Number of this process; every process has layouts and draws of its own.

        Raises:
            UserError: If there are so many processes that their layouts would be another run's.
        """
        most = LAYOUT_SEEDS // 2 // _RANK_LAYOUTS
        if rank >= most:
            raise UserError(f"process {rank} would have the layouts of another seed; use at most {most} processes.")
        self._env, self._experts = env, experts
        self._seed, self._rank = seed, rank
        self._records = [as_record(family) for family in env.cfg.layout.families]
        names = [record["family"] for record in self._records]
        if list(experts) != names:
            raise ValueError(f"experts for {', '.join(experts)}; the env's families are {', '.join(names)}.")

    def collect(
        self,
        shares: Sequence[float],
        steps: int,
        *,
        student: Policy | None = None,
        mixing: float = 0.2,
        disturbance: float = 0.0,
        round_index: int = 0,
        pixels: bool = False,
        on_step: Callable[[int], None] | None = None,
    ) -> list[Demo]:
        """Rolls out from fresh layouts.

        Args:
            shares: Share of each capability, in the experts' order; they add up to 1.
            steps: Control steps of every env.
            student: Who drives; the experts if None.
            mixing: Chance that a step is the expert's although a student drives.
            disturbance: Share of the steps at which an expert that drives is led astray; see :class:`Disturbance`.
            round_index: Number of this rollout within the run: layouts and draws are others in every round.
            pixels: Whether to record the colour views as well, as JPEGs.
            on_step: Called after every step with its number.

        Returns:
            The episodes; those that the end cut off are ``unfinished``.
        """
        family = assign_families(shares, self._env.num_envs).to(self._env.device)
        noise = (self._seed * 1000 + self._rank) * 10**5 + round_index
        draws = torch.Generator(self._env.device).manual_seed(noise)
        if student is None:
            drive = Disturbance(len(family), disturbance, draws)
        else:
            drive = _Mixture(student, mixing, draws)
        torch.manual_seed(noise)
        with (
            torch.inference_mode(),
            self._layouts_of(round_index, family),
            without_curriculum(self._env),
            watched_by(self._env, student, pixels),
        ):
            return self._roll_out(family, steps, drive, student, pixels, on_step)

    @contextlib.contextmanager
    def _layouts_of(self, round_index: int, family: torch.Tensor) -> Iterator[None]:
        """The env has a round's own layouts inside, of each env's family."""
        world = self._env.world
        before = world.layouts
        # experts trained on the seeds below the middle of a run's range
        first = self._seed * LAYOUT_SEEDS + LAYOUT_SEEDS // 2
        first += self._rank * _RANK_LAYOUTS + round_index * _ROUND_LAYOUTS
        world.layouts = BlendedStreams(before.cfg, first, family.cpu())
        try:
            yield
        finally:
            world.layouts = before

    def _roll_out(self, family, steps: int, drive, student: Policy | None, pixels: bool, on_step) -> list[Demo]:
        """Resets all envs, lets them be driven, and cuts out every episode as it ends."""
        env, world, trail = self._env, self._env.world, _Trail(len(family))
        obs, _ = env.reset()
        for policy in (*self._experts.values(), student):
            if policy is not None:
                policy.reset(env)
        layouts, demos = world.scene.seed.clone(), []
        for step in range(1, steps + 1):
            obs = TensorDict(obs, batch_size=len(family))
            expert = ask_experts(self._experts, obs, family)
            action, by_expert = drive(expert, obs)
            noted = self._note(expert, action, by_expert)
            if pixels:
                noted["pixels"] = [encode_pixels(views) for views in obs["rgb"]]
            obs, reward, terminated, truncated, _ = env.step(action)
            trail.add(noted | {"reward": reward.cpu().numpy().copy()})
            ended = (terminated | truncated).nonzero().flatten()
            if len(ended):
                demos += self._cut(trail, ended, self._outcomes(ended), family, layouts)
                layouts[ended] = world.scene.seed[ended]
                if student is not None:
                    student.forget(ended)
            if on_step is not None:
                on_step(step)
        rest = torch.arange(len(family), device=env.device)
        return demos + self._cut(trail, rest, ["unfinished"] * len(family), family, layouts)

    def _note(self, expert: torch.Tensor, action: torch.Tensor, by_expert: torch.Tensor) -> dict[str, np.ndarray]:
        """What a step's record holds of the time before it is made."""
        world = self._env.world
        noted = {
            "root_pose": torch.cat(world.base_pose, -1),
            "velocity": self._env.action_manager.get_term("velocity").velocity,
            "goal": world.goal_offset,
            "time": world.time,
            "expert_action": to_velocity(expert),
            "action": to_velocity(action.clamp(-1.0, 1.0)),
            "by_expert": by_expert,
        }
        return {name: value.cpu().numpy().copy() for name, value in noted.items()}

    def _outcomes(self, ended: torch.Tensor) -> list[str]:
        terms = torch.stack([self._env.termination_manager.get_term(name)[ended] for name in OUTCOMES])
        return [OUTCOMES[i] for i in terms.int().argmax(0).tolist()]

    def _cut(self, trail, ended, outcomes, family, layouts) -> list[Demo]:
        """The episodes that end now in some envs."""
        demos = []
        for env, outcome in zip(ended.tolist(), outcomes, strict=True):
            arrays = trail.cut(env)
            if arrays is None:
                continue
            index = int(family[env])
            demo = Demo(
                scene=self._records[index],
                layout=int(layouts[env]),
                difficulty=1.0,
                outcome=outcome,
                labels=list(self._experts)[index],
                **arrays,
            )
            demos.append(demo)
        return demos


def ask_experts(experts: Mapping[str, Policy], obs: TensorDict, family: torch.Tensor) -> torch.Tensor:
    """What the expert of each env's capability would do, shape [E, 3].

    Args:
        experts: The expert of each family.
        obs: What the envs observe, of E envs.
        family: Index of each env's family in ``experts``, shape [E].
    """
    action = torch.zeros(len(family), 3, device=family.device)
    for index, expert in enumerate(experts.values()):
        mine = family == index
        if bool(mine.any()):
            action[mine] = expert(obs[mine])
    return action


class Disturbance:
    """Leads experts astray for some steps at a time, so that a student sees what they do about it.

    What is executed then differs from what the expert says, as in DART (Laskey et al., arXiv 1703.09327): an imitator
    learns neither that the expert is never off its course nor that the last command is the next one.
    """

    STEPS = 4
    """Mean length of a disturbance."""
    SIZE = 0.6
    """Standard deviation of what is added to the actions; they lie in [-1, 1]."""

    def __init__(self, count: int, share: float, draws: torch.Generator):
        """Takes the number of robots and the share of their steps that are disturbed.

        Raises:
            ValueError: If the share is not in [0, 0.8]: after each disturbance comes a step without, on average.
        """
        most = self.STEPS / (self.STEPS + 1)
        if not 0.0 <= share <= most:
            raise ValueError(f"disturbance is {share}; it must lie in [0, {most}].")
        self._begin, self._end = share / (self.STEPS * (1.0 - share)), 1.0 / self.STEPS
        self._draws, self._is_on = draws, torch.zeros(count, dtype=torch.bool, device=draws.device)
        self._push = torch.zeros(count, 3, device=draws.device)

    def __call__(self, action: torch.Tensor, obs: TensorDict | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """What is executed instead of actions [E, 3], whatever is seen, and whether those stayed as they are [E]."""
        dice = torch.rand(len(action), generator=self._draws, device=action.device)
        begins = ~self._is_on & (dice < self._begin)
        fresh = self.SIZE * torch.randn(action.shape, generator=self._draws, device=action.device)
        self._push = torch.where(begins[:, None], fresh, self._push)
        self._is_on = begins | (self._is_on & (dice >= self._end))
        astray = torch.where(self._is_on[:, None], action + self._push, action)
        return astray.clamp(-1.0, 1.0), ~self._is_on


class _Mixture:
    """A student drives, but for some steps."""

    def __init__(self, student: Policy, mixing: float, draws: torch.Generator):
        self._student, self._mixing, self._draws = student, mixing, draws

    def __call__(self, expert: torch.Tensor, obs: TensorDict) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions, shape [E, 3], and whether they are the expert's, shape [E]."""
        by_expert = torch.rand(len(expert), generator=self._draws, device=expert.device) < self._mixing
        return torch.where(by_expert[:, None], expert, self._student(obs)), by_expert


class _Trail:
    """What was noted of all envs, step by step, until their episodes are cut out of it."""

    def __init__(self, count: int):
        self._steps: list[dict] = []
        self._begin = [0] * count
        self._dropped = 0

    def add(self, noted: dict) -> None:
        self._steps.append(noted)
        if len(self._steps) % 64 == 0:  # what no running episode needs any more
            least = min(self._begin) - self._dropped
            del self._steps[:least]
            self._dropped += least

    def cut(self, env: int) -> dict | None:
        """The arrays of an env's steps since its last cut; None if there are none."""
        steps = self._steps[self._begin[env] - self._dropped :]
        self._begin[env] = self._dropped + len(self._steps)
        if not steps:
            return None
        kinds = {"by_expert": np.uint8}
        pixels = [step["pixels"][env] for step in steps] if "pixels" in steps[0] else None
        return {"pixels": pixels} | {
            name: np.stack([step[name][env] for step in steps]).astype(kinds.get(name, np.float32))
            for name in _STEP_FIELDS
        }


def assign_families(shares: Sequence[float], count: int) -> torch.Tensor:
    """Families of E envs in the given shares, by largest remainders; none goes without an env, shape [E].

    Raises:
        ValueError: If there are fewer envs than families, or the shares are not positive.
    """
    if count < len(shares) or min(shares) <= 0.0:
        raise ValueError(f"{count} envs cannot be shared out as {list(shares)}: every capability needs one.")
    exact = np.asarray(shares, dtype=float) / sum(shares) * count
    numbers = np.maximum(np.floor(exact).astype(int), 1)
    while numbers.sum() > count:
        numbers[numbers.argmax()] -= 1
    for index in np.argsort(numbers - exact)[: count - numbers.sum()]:
        numbers[index] += 1
    return torch.from_numpy(np.repeat(np.arange(len(shares)), numbers))
