"""Replay: recorded episodes are seen again as a rig would have seen them, whatever is rendered beside them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from drives import drive

from mmnav.data import Frames, Replay, ShardWriter, read_demos
from mmnav.rig import Rig, fisheye_rig, random_day
from mmnav.scenes import advance, from_record, generate
from mmnav.scenes.builder import draw_paint

pytestmark = pytest.mark.integration

RIG, LOOK = fisheye_rig(24, 20, samples=2), random_day()
DEMOS = (("Reach", 11), ("Avoid", 12), ("Squeeze", 13), ("Avoid", 14))
STEPS = 6


@pytest.fixture(scope="module")
def demos(tmp_path_factory) -> list:
    """Episodes of three families that have been through a file."""
    folder = tmp_path_factory.mktemp("episodes")
    with ShardWriter(folder, {"env_name": "Drives"}, episodes_a_shard=3) as writer:
        for family, layout in DEMOS:
            writer.write(drive(family, layout, STEPS))
    return list(read_demos(folder))


@pytest.fixture(scope="module")
def frames(demos) -> Frames:
    return Frames(demos)


def render(frames: Frames, steps, looks, **more):
    steps, looks = torch.as_tensor(steps), torch.as_tensor(looks)
    return Replay(RIG, LOOK, len(steps)).render(frames, steps, looks, **more)


def seen_by_a_rig(family: str, layout: int, step: int, look: int):
    """Images of one step of one episode, from its drive and its scene alone."""
    demo = drive(family, layout, STEPS)
    scene = generate(from_record(json.loads(json.dumps(demo.scene))), np.array([layout]), demo.difficulty)
    scene.seed = torch.tensor([look])
    color, texture = draw_paint(np.array([look]), scene.geom_count)
    scene.color, scene.texture = torch.from_numpy(color).float(), torch.from_numpy(texture).int()
    place, speed = torch.empty_like(scene.position), torch.empty_like(scene.position)
    advance(scene, torch.from_numpy(demo.time[step : step + 1]), place, speed)
    pose = torch.from_numpy(demo.root_pose[step : step + 1])
    rig = Rig(RIG, scene, look=LOOK)
    rig.reset(frame=step)
    return rig.render(pose[:, :3].contiguous(), pose[:, 3:].contiguous(), place)


def test_an_episode_from_its_file_looks_as_its_rig_saw_it(frames):
    """Depth and class, at every step of episodes of several families, although their scenes differ in size."""
    looks = 1000 + frames.demo
    found = render(frames, torch.arange(len(frames)), looks)
    for i in range(len(frames)):
        family, layout = DEMOS[int(frames.demo[i])]
        expected = seen_by_a_rig(family, layout, i % STEPS, int(looks[i]))
        assert torch.equal(found.depth[i], expected.depth[0]), (family, i)
        assert torch.equal(found.label[i], expected.label[0])


def test_the_same_look_gives_the_same_colours_as_the_rig(demos):
    """Of one family, whose scenes are of one size."""
    frames = Frames([demos[1], demos[3]])
    found = render(frames, torch.arange(len(frames)), 50 + frames.demo)
    for i in range(len(frames)):
        family, layout = DEMOS[(1, 3)[i // STEPS]]
        expected = seen_by_a_rig(family, layout, i % STEPS, 50 + i // STEPS)
        assert torch.equal(found.rgb[i], expected.rgb[0]), i


def test_the_sensors_noise_is_another_one_at_every_step(demos):
    still = Frames([demos[0]])
    still.arrays["root_pose"][:] = still.arrays["root_pose"][0]  # a robot that stands, where nothing moves
    found = render(still, torch.arange(STEPS), [5] * STEPS)
    noise = (found.rgb[1:].int() - found.rgb[:-1].int()).abs()
    assert torch.equal(found.depth[1:], found.depth[:-1])
    assert (noise.flatten(1).sum(-1) > 0).all() and noise.float().mean() < 12


def test_two_looks_show_one_world(frames):
    found = render(frames, [3, 3], [7, 8])
    assert torch.equal(found.depth[0], found.depth[1])
    assert (found.rgb[0].float() - found.rgb[1].float()).abs().mean() > 5


def test_the_order_of_steps_does_not_matter(frames):
    """Nor what was rendered before: every step of every episode differs from all others."""
    replay, looks = Replay(RIG, LOOK, len(frames)), 1000 + frames.demo
    before = replay.render(frames, torch.arange(len(frames)), looks)
    rgb, depth = before.rgb.clone(), before.depth.clone()
    different = (rgb[:, None].int() - rgb[None].int()).abs().amax((2, 3, 4, 5))
    assert (different + 255 * torch.eye(len(frames)) > 0).all()
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0))
    after = replay.render(frames, order, looks[order])
    assert torch.equal(after.rgb, rgb[order]) and torch.equal(after.depth, depth[order])


def test_one_replay_serves_growing_frames(demos):
    """What joins later does not change what is seen of the first, even if its scenes have more slots."""
    frames, replay = Frames(demos[:1]), Replay(RIG, LOOK, STEPS)
    before = replay.render(frames, torch.arange(STEPS), torch.full((STEPS,), 3)).depth.clone()
    frames.extend(demos[1:])
    assert len(frames) == STEPS * len(DEMOS) and frames.start.unique().tolist() == [0, 6, 12, 18]
    assert torch.equal(frames.demo * STEPS, frames.start)
    assert torch.equal(replay.render(frames, torch.arange(STEPS), torch.full((STEPS,), 3)).depth, before)


def test_a_disturbed_robot_sees_what_it_would_see_there(frames):
    """Equal to an episode whose poses are elsewhere."""
    offset, turn = np.array([[0.3, -0.2]]), np.array([0.7])
    found = render(frames, [2], [5], disturb=(offset, turn)).depth.clone()
    demo = drive(*DEMOS[0], STEPS)
    yaw = 2 * np.arctan2(demo.root_pose[2, 5], demo.root_pose[2, 6]) + turn[0]
    demo.root_pose[2, :2] += offset[0].astype(np.float32)
    demo.root_pose[2, 5:] = np.sin(yaw / 2), np.cos(yaw / 2)
    expected = render(Frames([demo]), [2], [5]).depth
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, render(frames, [2], [5]).depth, atol=1e-2)


def test_a_batch_of_another_size_is_refused(frames):
    with pytest.raises(ValueError, match="renders 2 steps at a time, not 3"):
        Replay(RIG, LOOK, 2).render(frames, torch.arange(3), torch.arange(3))
