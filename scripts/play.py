"""Plays a policy and writes a video: the map with the robot's trail beside what it sees, depth or colour.

    ./isaaclab.sh -p scripts/play.py --task Squeeze --policy assets/experts/squeeze --video squeeze.mp4

Needs no screen. With Isaac Sim installed, ``--physics isaacsim_physx --viz kit`` shows the robots in its window.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _checkout  # noqa: F401
from mmnav.errors import UserError, check_new_file, run_main


def parse() -> argparse.Namespace:
    """The user's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="Reach, Squeeze, Avoid or Mixed")
    parser.add_argument("--policy", required=True, help="an expert's or a student's folder, random, straight or oracle")
    parser.add_argument("--video", type=Path, help="MP4 to write; POLICY_TASK.mp4 if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace a film that is there already")
    parser.add_argument("--episodes", type=int, default=3, help="episodes to play")
    parser.add_argument("--seed", type=int, default=100, help="evaluation seed whose first layouts are played")
    parser.add_argument("--physics", default="kinematic", help="kinematic, ovphysx or isaacsim_physx")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--viz", help="Isaac Lab's visualizer: kit, newton, rerun or viser")
    return parser.parse_args()


def main() -> None:
    """Checks the words, plays, writes the video."""
    args = parse()
    from mmnav_tasks import launch

    task = launch.task_name(args.task)
    launch.positive("--episodes", args.episodes)
    device, physics = launch.device_name(args.device), launch.physics_name(args.physics)
    video = args.video or Path(f"{Path(args.policy).name}_{task.lower()}.mp4")
    if video.suffix != ".mp4":
        raise UserError(f"--video {video}: the name must end with .mp4.")
    check_new_file("--video", video, args.overwrite)
    launch.writable_folder("--video", video.parent)

    from rich.progress import Progress

    from mmnav.evaluate.video import write_video
    from mmnav.rig import DEPTH_RIG
    from mmnav_tasks.policies import make_policy, prepare
    from mmnav_tasks.rollout import evaluation_layouts, record_episodes

    policy = make_policy(args.policy, device)
    layouts = evaluation_layouts(args.seed, args.episodes)
    cfg, _ = launch.task_config(task, physics)
    cfg.sim.device, cfg.scene.num_envs, cfg.seed, cfg.layouts = device, args.episodes, 0, layouts.tolist()
    prepare(cfg, {args.policy: policy})
    with launch.running_env(task, cfg, viz=args.viz, log=Path("/dev/null")) as env:
        title = f"{'/'.join(Path(args.policy).parts[-2:])} on {task}, evaluation seed {args.seed}, episode"
        titles = {i: f"{title} {i}" for i in range(args.episodes)}
        recordings = record_episodes(env.unwrapped, policy, layouts, args.seed, titles)
    for i, recording in enumerate(recordings):
        print(f"episode {i}: {recording.outcome} after {recording.seconds:.1f} s")
    with Progress(transient=True) as bar:
        row = bar.add_task("writing frames", total=sum(len(r.pose) for r in recordings))
        write_video(video, recordings, DEPTH_RIG.max_range, lambda: bar.advance(row))
    print(f"Wrote {video}.")


if __name__ == "__main__":
    run_main(main)
