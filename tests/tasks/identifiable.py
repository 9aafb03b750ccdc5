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
from mmnav.scenes import as_record, from_record, generate
from mmnav_tasks.collect import Collector
from mmnav_tasks.distill import Robots
from mmnav_tasks.launch import running_env, task_config
from mmnav_tasks.policies import to_velocity
from mmnav_tasks.rollout import Policy

STUDENT = torch.tensor([1.0, -0.5, 0.125])


class Numbered(Policy):
    """An expert that always answers with its number."""

    def __init__(self, number: int):
        self.action = torch.tensor([0.25 * number, 0.0, -0.125 * number])

    def __call__(self, obs):
        return self.action.expand(len(obs["state"]), 3)


class Student(Policy):
    """A student that always answers the same; keeps what experts would see and what was commanded, by pose and goal."""

    def reset(self, env):
        self._world, self._driver = env.world, env.action_manager.get_term("velocity")
        self.seen, self.commanded, self.forgotten = {}, {}, 0

    def forget(self, robots):
        self.forgotten += len(robots)

    def __call__(self, obs):
        places = torch.cat([*self._world.base_pose, self._world.goal_offset], -1)
        commands = to_velocity(self._driver.processed_actions)
        for place, panorama, command in zip(places, obs["panorama"], commands, strict=True):
            self.seen[place.numpy().tobytes()] = panorama.clone()
            self.commanded[place.numpy().tobytes()] = command.clone()
        return STUDENT.expand(12, 3)


def collect(collector: Collector, student: Student, round_index: int, **more) -> list:
    return collector.collect([0.3, 0.45, 0.25], 120, student=student, mixing=0.25, round_index=round_index, **more)


def _at(kept: dict[bytes, torch.Tensor], frames: Frames, steps: torch.Tensor) -> torch.Tensor:
    """What was kept where the robots were at some steps."""
    places = torch.cat([frames.arrays[name][steps] for name in ("root_pose", "goal")], -1)
    return torch.stack([kept[place.numpy().tobytes()] for place in places])


def _panorama_error(demos: list, seen: dict[bytes, torch.Tensor], rig: RigCfg) -> float:
    """How far replayed panoramas are from those that were seen when the steps were recorded, at most."""
    frames, replay = Frames(demos), PanoramaReplay(rig, 100)
    parts = torch.arange(len(frames)).split(100)[:-1]
    errors = [(replay.look(frames, steps) - _at(seen, frames, steps)).abs().max() for steps in parts]
    return float(torch.stack(errors).max())


def _command_error(demos: list, commanded: dict[bytes, torch.Tensor]) -> float:
    """How far the commands that a student will learn with are from those it could know when it drove, at most."""
    frames = Frames(demos)
    steps = (torch.arange(len(frames)) > frames.start).nonzero().flatten()
    return float((frames.command(steps) - _at(commanded, frames, steps)).abs().max())


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
    frames = max(round(episode.time / step) - 1, 1)
    return (
        (recording.outcome, recording.seconds) == (episode.outcome, episode.time)
        and len(recording.pose) == frames
        and recording.begin == recording.step == step
    )


def main() -> None:
    cfg, _ = task_config("Distill")
    cfg.sim.device, cfg.scene.num_envs, cfg.seed = "cpu", 12, 0
    cfg.rgb_views = (32, 16)
    with running_env("Distill", cfg) as env:
        names = [as_record(family)["family"] for family in cfg.layout.families]
        experts = {name: Numbered(i + 1) for i, name in enumerate(names)}
        collector = Collector(env.unwrapped, experts, seed=3)
        student = Student()
        demos = collect(collector, student, 0)
        command_error = _command_error(demos, student.commanded)
        forgotten = student.forgotten
        panorama_error = _panorama_error(demos, student.seen, depth_rig(*cfg.depth_views))
        repeated, other = collect(collector, student, 0), collect(collector, student, 1)
        seen = collect(collector, student, 0, pixels=True)
        step = env.unwrapped.step_dt
        robots = Robots(env.unwrapped, experts, seed=0)
        evaluated = robots.evaluate(None, 4, lambda ended: None)
        longer = robots.evaluate(None, 6, lambda ended: None)  # 18 episodes for 12 robots
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
        "command_error": command_error,
        "forgotten": forgotten,
        "ended": sum(demo.outcome != "unfinished" for demo in demos),
        "layouts": {name: [episode.layout for episode in longer[name]] for name in names},
        "first_layouts": {name: [episode.layout for episode in evaluated[name]] for name in names},
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
