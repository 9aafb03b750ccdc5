"""The curriculum raises the difficulty by what was achieved at the present one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from isaaclab.managers import CurriculumTermCfg

from mmnav_tasks.mdp.curriculum import Difficulty

PARAMS = {"start": 0.4, "step": 0.1, "threshold": 0.7, "episodes": 4}


def make(difficulty: list[float], success: list[bool]):
    env = SimpleNamespace(
        num_envs=len(success),
        device="cpu",
        common_step_counter=1,
        termination_manager=SimpleNamespace(get_term=lambda name: torch.tensor(success)),
        world=SimpleNamespace(
            layouts=SimpleNamespace(is_endless=True, difficulty=0.0),
            scene=SimpleNamespace(difficulty=torch.tensor(difficulty)),
        ),
    )
    return env, Difficulty(CurriculumTermCfg(func=Difficulty, params=PARAMS), env)


@pytest.mark.parametrize("ids", [slice(None), torch.arange(6)])
def test_enough_successes_at_the_level_raise_it(ids):
    env, term = make([0.4] * 6, [True] * 5 + [False])
    assert term(env, ids, **PARAMS) == pytest.approx(0.5)


def test_episodes_that_began_at_an_easier_level_do_not_count():
    """They last several rounds: counted, they would raise the level again before anybody met it."""
    env, term = make([0.4] * 6, [True] * 6)
    term(env, slice(None), **PARAMS)
    assert term(env, slice(None), **PARAMS) == pytest.approx(0.5)
    env.world.scene.difficulty[:3] = 0.5
    assert term(env, slice(None), **PARAMS) == pytest.approx(0.5)
    env.world.scene.difficulty[:] = 0.5
    assert term(env, slice(None), **PARAMS) == pytest.approx(0.6)


def test_too_few_successes_leave_it():
    env, term = make([0.4] * 6, [True] * 4 + [False] * 2)
    assert term(env, slice(None), **PARAMS) == pytest.approx(0.4)
