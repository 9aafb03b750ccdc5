"""Curriculum: layouts get harder as the policy succeeds."""

from __future__ import annotations

import torch
from isaaclab.managers import CurriculumTermCfg, ManagerTermBase


class Difficulty(ManagerTermBase):
    """Raises the difficulty of new layouts whenever enough episodes of the present one have succeeded.

    Layouts that are fixed (under PhysX, and in evaluations) keep their difficulty.
    Its state lives in ``env.world.layouts`` and in :meth:`state_dict`, so that a resumed run goes on where it was.

    Params:
        start: Difficulty at first, in [0, 1].
        step: How much harder it gets.
        threshold: Share of successes that makes it harder.
        episodes: Fewest episodes that the share is taken over.
    """

    def __init__(self, cfg: CurriculumTermCfg, env):
        super().__init__(cfg, env)
        self._outcomes = torch.zeros(2, dtype=torch.long)  # episodes, successes
        if env.world.layouts.is_endless:
            env.world.layouts.difficulty = cfg.params["start"]

    def __call__(self, env, env_ids, start: float, step: float, threshold: float, episodes: int) -> float:
        """Counts the outcomes of the episodes that end now; returns the difficulty."""
        layouts = env.world.layouts
        if env.common_step_counter > 0 and layouts.is_endless:
            # episodes that began at the level before say nothing about this one
            current = env.world.scene.difficulty[env_ids] >= layouts.difficulty - 1.0e-6
            succeeded = env.termination_manager.get_term("success")[env_ids] & current
            self._outcomes += torch.tensor([int(current.sum()), int(succeeded.sum())])
            if self._outcomes[0] >= episodes:
                if self._outcomes[1] > threshold * self._outcomes[0]:
                    layouts.difficulty = min(1.0, layouts.difficulty + step)
                self._outcomes.zero_()
        return layouts.difficulty

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What a resumed run needs."""
        return {"outcomes": self._outcomes.clone(), "difficulty": torch.tensor(self._env.world.layouts.difficulty)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Goes on where :meth:`state_dict` was taken."""
        self._outcomes.copy_(state["outcomes"])
        self._env.world.layouts.difficulty = float(state["difficulty"])
