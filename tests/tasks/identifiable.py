"""Collects with experts whose action is their number, for test_collect.py; prints what is wrong with the episodes."""

from __future__ import annotations

import itertools
import json

import numpy as np
import torch

from mmnav.data import Frames
from mmnav.data.pixels import decode_pixels
from mmnav.data.replay import PanoramaReplay
from mmnav.rig import RigCfg, depth_rig
from mmnav.scenes import from_record, generate
from mmnav_tasks.collect import Collector
from mmnav_tasks.distill import Robots, families_of
from mmnav_tasks.launch import running_env, task_config
from mmnav_tasks.policies import to_velocity

STUDENT = torch.tensor([1.0, -0.5, 0.125])


class Numbered:
    """An expert that always answers with its number."""

    def __init__(self, number: int):
        self.action = torch.tensor([0.25 * number, 0.0, -0.125 * number])

    def reset(self, env):
        pass

    def __call__(self, obs):
        return self.action.expand(len(obs["state"]), 3)


class Student:
    """A student that always answers the same, and keeps the panoramas that experts would see, by pose and goal."""

    def __init__(self, world):
        self._world, self.seen = world, {}

    def __call__(self, obs):
        places = torch.cat([*self._world.base_pose, self._world.goal_offset], -1)
        for place, panorama in zip(places, obs["panorama"], strict=True):
            self.seen[place.numpy().tobytes()] = panorama.clone()
        return STUDENT.expand(12, 3)


def collect(collector: Collector, student: Student, round_index: int, **more) -> list:
    return collector.collect([0.3, 0.45, 0.25], 120, student=student, mixing=0.25, round_index=round_index, **more)


def _panorama_error(demos: list, seen: dict[bytes, torch.Tensor], rig: RigCfg) -> float:
    """How far replayed panoramas are from those that were seen when the steps were recorded, at most."""
    frames, errors = Frames(demos), []
    replay = PanoramaReplay(rig, 100)
    for steps in torch.arange(len(frames)).split(100)[:-1]:
        places = torch.cat([frames.arrays[name][steps] for name in ("root_pose", "goal")], -1)
        truth = torch.stack([seen[place.numpy().tobytes()] for place in places])
        errors.append((replay.look(frames, steps) - truth).abs().max())
    return float(torch.stack(errors).max())


def _same(a: list, b: list) -> bool:
    """Whether two recordings are equal, bit for bit."""
    return len(a) == len(b) and all(np.array_equal(x.root_pose, y.root_pose) for x, y in zip(a, b, strict=True))


def _views(demo) -> bool:
    """Whether an episode's pictures are as many as its steps, and no two of its first are the same."""
    images = decode_pixels(demo.pixels, 4)
    return len(images) == len(demo) and not any(torch.equal(a, b) for a, b in itertools.pairwise(images[:9]))


def _as_evaluated(recording, evaluated: dict[str, list], step: float) -> bool:
    """Whether a recording shows the very episode of the evaluation that its title names."""
    family, layout, _ = recording.title.split(", ")
    episode = evaluated[family][int(layout.removeprefix("validation layout "))]
    return recording.outcome == episode.outcome and len(recording.pose) == max(round(episode.time / step) - 1, 1)


def main() -> None:
    cfg, _ = task_config("Distill")
    cfg.sim.device, cfg.scene.num_envs, cfg.seed = "cpu", 12, 0
    cfg.rgb_views = (32, 16)
    with running_env("Distill", cfg) as env:
        names = families_of(cfg)
        experts = {name: Numbered(i + 1) for i, name in enumerate(names)}
        collector = Collector(env.unwrapped, experts, seed=3)
        student = Student(env.unwrapped.world)
        demos = collect(collector, student, 0)
        panorama_error = _panorama_error(demos, student.seen, depth_rig(*cfg.depth_views))
        repeated, other = collect(collector, student, 0), collect(collector, student, 1)
        seen = collect(collector, student, 0, pixels=True)
        step = env.unwrapped.step_dt
        robots = Robots(env.unwrapped, experts, seed=0)
        evaluated = robots.evaluate(None, 4, lambda ended: None)
        ended = []
        told = robots.telling(None, 5, ended.append)
    counts_up = ended == sorted(ended) and ended[-1] == 2 * cfg.scene.num_envs
    wrong = dict.fromkeys(("labels", "actions", "starts", "goals", "times"), 0)
    for demo in demos:
        label = to_velocity(experts[demo.family].action).numpy()
        wrong["labels"] += demo.labels != demo.family or not np.allclose(demo.expert_action, label)
        done = np.where(demo.by_expert[:, None] > 0, label, to_velocity(STUDENT).numpy())
        wrong["actions"] += not np.allclose(demo.action, done)
        scene = generate(from_record(demo.scene), np.array([demo.layout]), demo.difficulty)
        position, orientation = scene.start_poses(demo.root_pose[0, 2])
        start = torch.cat([position, orientation], -1)[0].numpy()
        wrong["starts"] += not np.allclose(demo.root_pose[0], start, atol=1e-5)
        x, y, z, w = demo.root_pose.T[3:]
        yaw = 2.0 * np.arctan2(z, w)
        way = scene.goal.numpy() - demo.root_pose[:, :2]
        ahead = np.stack(
            [np.cos(yaw) * way[:, 0] + np.sin(yaw) * way[:, 1], np.cos(yaw) * way[:, 1] - np.sin(yaw) * way[:, 0]], -1
        )
        wrong["goals"] += not np.allclose(demo.goal, ahead, atol=1e-4)
        wrong["times"] += not np.allclose(demo.time, step * np.arange(len(demo)), atol=1e-4)
    first = {name: [d for d in demos if d.family == name] for name in names}
    steps = [sum(map(len, group)) for group in first.values()]
    mixed = np.concatenate([demo.by_expert for demo in demos]).mean()
    result = {
        "demos": len(demos),
        "labelled_by": sorted({demo.labels for demo in demos}),
        **{f"wrong_{name}": int(count) for name, count in wrong.items()},
        "envs": [total // 120 for total in steps],
        "steps": sum(steps),
        "expected_steps": 12 * 120,
        "mixed": float(mixed),
        "panorama_error": panorama_error,
        "repeats": _same(demos, repeated),
        "differs": not _same(demos, other),
        "pixels": _same(demos, seen) and all(_views(demo) for demo in seen),
        "told": [recording.title for recording in told],
        "told_counts_up": counts_up,
        "told_as_evaluated": all(_as_evaluated(recording, evaluated, step) for recording in told),
        "pixels_unasked": any(demo.pixels is not None for demo in demos),
    }
    print("FOUND " + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
