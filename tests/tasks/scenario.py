"""Scenarios in one running env, for test_world.py: each prints what it found as JSON."""

from __future__ import annotations

import json

import torch

from mmnav.scenes import Kind
from mmnav_tasks.launch import running_env, task_config
from mmnav_tasks.rollout import Policy, evaluation_layouts, run_episodes

N = 8


def say(name: str, **found) -> None:
    print("FOUND " + json.dumps({"name": name, **found}), flush=True)


def nan_stays_where_it_is(env) -> None:
    world = env.world
    env.reset()
    pose = world._robot.data.root_link_pose_w.torch.clone()
    pose[3, 0] = float("nan")
    world._robot.write_root_pose_to_sim_index(root_pose=pose)
    obs, reward, terminated, *_ = env.step(torch.zeros(N, 3))
    ended = terminated.nonzero()[:, 0].tolist()
    after, *_ = env.step(torch.zeros(N, 3))
    say(
        "nan",
        ended=ended,
        finite=all(bool(v.isfinite().all()) for v in [*obs.values(), *after.values(), reward]),
        back=bool(world.position[3].isfinite().all()),
    )


def nan_actions_stand_still(env) -> None:
    env.reset()
    before = env.world.position.clone()
    action = torch.full((N, 3), float("nan"))
    for _ in range(3):
        env.step(action)
    say("nan_action", moved=float((env.world.position - before).norm(dim=-1).max()))


def straight_drive_follows_the_lag(env) -> None:
    env.reset()
    term = env.action_manager.get_term("velocity")
    speeds = []
    for _ in range(15):
        env.step(torch.tensor([[1.0, 0.0, 0.0]]).repeat(N, 1))
        speeds.append(float(term.velocity[:, 0].mean()))
    rise = max(b - a for a, b in zip([0.0, *speeds], speeds, strict=False))
    say("lag", first=speeds[0], last=speeds[-1], rise=rise)


def trail_leads_back(env) -> None:
    env.reset()
    places, wrong = [env.world.pose], 0.0
    for step in range(1, 50):
        obs, *_ = env.step(torch.tensor([[1.0, 0.3, 0.8]]).repeat(N, 1))
        places.append(env.world.pose)
        alive = env.episode_length_buf == step
        x, y, yaw = places[-1].unbind(-1)
        for i, ago in enumerate((10, 20, 40, 80, 160)):
            back = places[max(0, step - ago)] - places[-1]
            forward = yaw.cos() * back[:, 0] + yaw.sin() * back[:, 1]
            left = yaw.cos() * back[:, 1] - yaw.sin() * back[:, 0]
            told = 3.0 * obs["state"][:, 10 + 2 * i : 12 + 2 * i]
            wrong = max(wrong, float((told - torch.stack([forward, left], -1))[alive].abs().sum(-1).max()))
    say("trail", wrong=wrong, alive=int(alive.sum()))


def outcomes_exclude_each_other(env) -> None:
    env.reset()
    sums = set()
    for _ in range(150):
        env.step(torch.tensor([[1.0, 0.0, 0.0]]).repeat(N, 1))
        terms = [env.termination_manager.get_term(n).long() for n in ("collision", "success", "time_out")]
        sums |= set(sum(terms).tolist())
    say("outcomes", sums=sorted(sums))


def teleported_to_the_goal_succeeds(env) -> None:
    env.reset()
    world = env.world
    pose = world._robot.data.root_link_pose_w.torch.clone()
    pose[:4, :2] = world.scene.goal[:4] + world._origins[:4, :2]
    world._robot.write_root_pose_to_sim_index(root_pose=pose)
    env.step(torch.zeros(N, 3))
    say("success", ended=env.termination_manager.get_term("success").tolist())


def a_touch_between_control_steps_counts(env) -> None:
    env.reset()
    world, dt = env.world, env.physics_dt
    start = world._robot.data.root_link_pose_w.torch.clone()
    inside = start.clone()
    low = (world.geom_position[..., 2] < 0.5) & (world.scene.kind != Kind.NONE)
    inside[:4, :2] = world.geom_position[range(4), low[:4].int().argmax(1), :2] + world._origins[:4, :2]
    world.advance(dt)
    world._robot.write_root_pose_to_sim_index(root_pose=inside)
    world.advance(dt)
    world._robot.write_root_pose_to_sim_index(root_pose=start)
    say("touch", collided=world.collided.tolist(), clearance=world.clearance.tolist())


def evaluation_repeats_and_leaves_no_trace(env) -> None:
    layouts = evaluation_layouts(5, N)

    class Forward(Policy):
        def __call__(self, obs):
            return torch.tensor([[1.0, 0.0, 0.1]]).repeat(N, 1)

    level, next_seed = env.world.layouts.difficulty, env.world.layouts.next_seed
    first = run_episodes(env, Forward(), layouts, 5)
    second = run_episodes(env, Forward(), layouts, 5)
    say(
        "evaluation",
        same=first == second,
        ended=sorted({e.outcome for e in first}),
        untouched=level == env.world.layouts.difficulty and next_seed == env.world.layouts.next_seed,
        timed=all(e.time > 0 and e.path_length > 0 for e in first),
    )


if __name__ == "__main__":
    cfg, _ = task_config("Reach")
    cfg.sim.device, cfg.scene.num_envs, cfg.seed = "cpu", N, 1
    with running_env("Reach", cfg) as env:
        for scenario in (
            nan_stays_where_it_is,
            nan_actions_stand_still,
            straight_drive_follows_the_lag,
            trail_leads_back,
            outcomes_exclude_each_other,
            teleported_to_the_goal_succeeds,
            a_touch_between_control_steps_counts,
            evaluation_repeats_and_leaves_no_trace,
        ):
            scenario(env.unwrapped)
