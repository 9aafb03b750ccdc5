"""Streams and lists of layouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmnav.scenes import ReachCfg
from mmnav_tasks.layouts import LayoutList, LayoutStream
from mmnav_tasks.rollout import evaluation_layouts


@pytest.mark.parametrize("chunk", [3, 8, 256])
def test_a_stream_does_not_depend_on_how_it_is_chunked(chunk):
    """Taken in any portions, the n-th layout has the n-th seed."""
    stream = LayoutStream(ReachCfg(), first_seed=100, chunk=chunk)
    seeds = torch.cat([stream.take(torch.arange(n)).seed for n in (1, 5, 2, 9)])
    assert seeds.tolist() == list(range(100, 117))
    assert stream.next_seed == 117


def test_a_change_of_difficulty_takes_effect_at_once():
    stream = LayoutStream(ReachCfg(), first_seed=0, difficulty=0.0)
    stream.take(torch.arange(3))
    stream.difficulty = 0.5
    taken = stream.take(torch.arange(2))
    assert taken.difficulty.tolist() == [0.5, 0.5] and taken.seed.tolist() == [3, 4]


def test_a_stream_goes_on_from_its_next_seed():
    """What a checkpoint stores is enough to go on."""
    stream = LayoutStream(ReachCfg(), first_seed=7)
    stream.take(torch.arange(5))
    resumed = LayoutStream(ReachCfg(), first_seed=0)
    resumed.take(torch.arange(3))  # what it made ahead must not be served any more
    resumed.next_seed = stream.next_seed
    assert torch.equal(resumed.take(torch.arange(4)).position, stream.take(torch.arange(4)).position)


def test_a_list_gives_every_env_its_own_layout_each_time():
    layouts = LayoutList(ReachCfg(), np.array([5, 6, 7]))
    for ids in ([2, 0], [1], [2]):
        assert layouts.take(torch.tensor(ids)).seed.tolist() == [5 + i for i in ids]


def test_evaluation_layouts_are_never_trained_on():
    seeds = np.concatenate([evaluation_layouts(s, 500) for s in (0, 1, 2, 999)])
    assert len(set(seeds.tolist())) == 2000 and (seeds < 0).all()
