"""Layouts: a function of their own seed, solvable, within bounds, and with what their family promises."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnav.robot import ROBOT
from mmnav.scenes import MAX_GEOMS, SCENES, Kind, SceneBatch, advance, generate
from mmnav.scenes.geodesic import path_length
from mmnav.scenes.oracle import SearchCfg, solve

FAMILIES = sorted(SCENES)


def layouts(family: str, seeds, difficulty=1.0) -> SceneBatch:
    return generate(SCENES[family](), np.asarray(seeds), difficulty)


def same(a: SceneBatch, b: SceneBatch) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(SceneBatch))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(
    seeds=st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=6),
    difficulty=st.floats(0.0, 1.0, allow_nan=False),
    data=st.data(),
)
def test_a_layout_depends_on_its_own_seed_alone(family, seeds, difficulty, data):
    """Alone, or anywhere in a batch of others, the same seed gives the same layout."""
    index = data.draw(st.integers(0, len(seeds) - 1))
    batch = layouts(family, seeds, difficulty)
    assert same(batch[index : index + 1], layouts(family, seeds[index : index + 1], difficulty))


@pytest.mark.parametrize("family", FAMILIES)
def test_layouts_differ_between_seeds_and_difficulties(family):
    a, b, easy = layouts(family, [1]), layouts(family, [2]), layouts(family, [1], 0.0)
    assert not torch.equal(a.position, b.position)
    assert not torch.equal(a.size, easy.size) or not torch.equal(a.kind, easy.kind)


@pytest.mark.parametrize("family", FAMILIES)
def test_layouts_are_finite_and_fit_the_mask(family):
    scene = layouts(family, range(64))
    scene.check_finite()
    assert scene.geom_count <= MAX_GEOMS
    assert torch.allclose(scene.orientation.norm(dim=-1), torch.ones(()), atol=1e-5)
    exists = scene.kind != Kind.NONE
    assert (scene.size[exists] > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_start_and_goal_are_apart_and_inside(family):
    scene = layouts(family, range(256))
    low, high = scene.bounds[:, :2], scene.bounds[:, 2:]
    for point in (scene.start[:, :2], scene.goal):
        assert ((point > low + ROBOT.radius) & (point < high - ROBOT.radius)).all()
    apart = (scene.goal - scene.start[:, :2]).norm(dim=-1)
    assert apart.min() > 9.0 and apart.max() < 12.5


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("difficulty", [1.0, 0.3])
def test_every_layout_is_solvable(family, difficulty):
    """The oracle drives 1,000 layouts of each family at full difficulty, 200 at an easier one."""
    count = 1000 if difficulty == 1.0 else 200
    scene = layouts(family, range(count), difficulty)
    solvable = solve(scene, SearchCfg(horizon=90.0)).solvable  # at heading 0, sideways at 0.4 m/s
    unsolved = (~solvable).nonzero()[:, 0].tolist()
    assert not unsolved, f"seeds {unsolved} of {family} cannot be solved"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shortest_way_is_no_shorter_than_the_straight_one(family):
    scene = layouts(family, range(16))
    straight = (scene.goal - scene.start[:, :2]).norm(dim=-1)
    length = path_length(scene)
    assert (length >= 0.98 * straight).all() and length.isfinite().all()


def test_squeeze_has_one_gap_the_robot_surely_fits_through_in_every_row():
    """Measured on the boxes themselves, not on what the generator meant."""
    scene = layouts("Squeeze", range(64))
    for env in range(scene.env_count):
        wall = (scene.kind[env] == Kind.BOX) & (scene.size[env, :, 0] < 0.075) & (scene.size[env, :, 1] < 4.0)
        place, half = scene.position[env][wall], scene.size[env][wall]
        for x in place[:, 0].unique():
            row = (place[:, 0] - x).abs() < 1e-6
            order = place[row, 1].argsort()
            low = (place[row, 1] - half[row, 1])[order]
            high = (place[row, 1] + half[row, 1])[order]
            gaps = low[1:] - high[:-1]
            assert len(gaps) in (3, 4)
            assert 0.45 - 1e-4 <= gaps.max() and gaps.min() >= 0.30 - 1e-4 and gaps.max() <= 0.70 + 1e-4
            assert low[0] <= -4.0 + 1e-4 and high[-1] >= 4.0 - 1e-4


def test_squeeze_gaps_blend_from_wide_to_narrow():
    def widest(difficulty: float) -> float:
        scene = layouts("Squeeze", range(64), difficulty)
        wall = (scene.kind == Kind.BOX) & (scene.size[..., 0] < 0.075) & (scene.size[..., 1] < 4.0)
        return float((2 * scene.size[..., 1] * wall).sum())

    assert widest(0.0) < widest(0.5) < widest(1.0)


def test_reach_holds_all_five_kinds_thin_sticks_and_tilted_ones():
    scene = layouts("Reach", range(32))
    assert set(scene.kind.unique().tolist()) >= {int(k) for k in Kind if k != Kind.NONE}
    capsule = scene.kind == Kind.CAPSULE
    assert scene.size[capsule][:, 0].max() <= 0.03
    lying = scene.orientation[capsule][:, :2].norm(dim=-1) > 0.5
    assert lying.any() and not lying.all()
    assert (scene.speed == 0).all()


def test_avoid_moves_at_the_speeds_of_the_papers_figure():
    scene = layouts("Avoid", range(64))
    moves = scene.speed > 0
    stick = moves & (scene.kind == Kind.CAPSULE)
    assert 1.0 <= scene.speed[stick].min() and scene.speed[stick].max() <= 1.5
    assert 0.5 <= scene.speed[moves & ~stick].min() and scene.speed[moves & ~stick].max() <= 0.8
    assert (moves.sum(1) >= 8).all()


def test_movers_stay_inside_and_keep_their_speed():
    scene = layouts("Avoid", range(32))
    moves = scene.speed > 0
    before, place, velocity = (torch.zeros_like(scene.position) for _ in range(3))
    for i in range(80):
        time = torch.full((32,), 0.5 * i)
        advance(scene, time, place, velocity)
        assert (place[moves][:, :2].abs() <= 6.0).all()
        assert torch.allclose(velocity[moves].norm(dim=-1), scene.speed[moves], atol=1e-4)
        assert torch.equal(place[~moves], scene.position[~moves])
        if i == 0:
            assert torch.allclose(place, scene.position, atol=1e-5)
        else:
            assert ((place - before).norm(dim=-1)[moves] <= 0.5 * scene.speed[moves] + 1e-4).all()
        before.copy_(place)


def test_movers_converge_on_the_way_to_the_goal():
    """A robot that goes straight at 0.8 m/s meets more movers than one that waits at the start."""
    scene = layouts("Avoid", range(256))
    place, velocity = torch.zeros_like(scene.position), torch.zeros_like(scene.position)
    along = (scene.goal - scene.start[:, :2]) / (scene.goal - scene.start[:, :2]).norm(dim=-1, keepdim=True)
    met = {0.0: torch.zeros(256, dtype=torch.bool), 0.8: torch.zeros(256, dtype=torch.bool)}
    for i in range(60):
        time = torch.full((256,), 0.2 * i)
        advance(scene, time, place, velocity)
        for speed, hit in met.items():
            robot = scene.start[:, :2] + along * speed * (time - 0.5).clamp(min=0.0)[:, None]
            near = (place[..., :2] - robot[:, None]).norm(dim=-1) < 0.5
            hit |= (near & (scene.speed > 0)).any(1)
    assert met[0.8].float().mean() > 2.0 * met[0.0].float().mean()


@pytest.mark.parametrize("difficulty", [-0.1, 1.5, float("nan")])
def test_an_impossible_difficulty_is_named(difficulty):
    with pytest.raises(ValueError, match="difficulty must lie in"):
        layouts("Reach", [0], difficulty)
