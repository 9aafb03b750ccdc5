"""The image depends neither on the number of threads nor on the process."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch
from random_worlds import random_poses, random_scene

from mmnav.rig import DEPTH_RIG, Rig, fisheye_rig

_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_repeatability
print(test_repeatability.digest(threads=1))
"""


def digest(threads: int) -> str:
    """Hash of depth and index of a fixed world."""
    scene, pose = random_scene(200, 32, seed=9), random_poses(200, seed=9)
    rig = Rig(DEPTH_RIG, scene, geom_ids=True, threads=threads)
    depth = rig.render_depth(*pose, scene.position)
    return hashlib.sha256(depth.numpy().tobytes() + rig.geom.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("threads", [2, 5, None])
def test_threads_change_no_bit(threads, worlds, poses):
    """With chunks shared out, every bit is as from one thread, frame after frame."""
    scene = worlds(300, 40, seed=8)
    one = Rig(fisheye_rig(16, 16), scene, geom_ids=True, threads=1)
    many = Rig(fisheye_rig(16, 16), scene, geom_ids=True, threads=threads)
    for frame in range(5):
        pose = poses(300, seed=frame)
        assert torch.equal(one.render_depth(*pose, scene.position), many.render_depth(*pose, scene.position))
        assert torch.equal(one.geom, many.geom)
        many.depth.fill_(-1.0)


def test_output_is_the_same_memory(worlds, poses):
    """The tensor returned is one and the same, as documented."""
    scene = worlds(2, 5, seed=0)
    rig = Rig(DEPTH_RIG, scene)
    first = rig.render_depth(*poses(2, seed=0), scene.position)
    before = first.clone()
    second = rig.render_depth(*poses(2, seed=1), scene.position)
    assert first.data_ptr() == second.data_ptr() and not torch.equal(before, second)


def test_a_fresh_process_gives_the_same_bytes():
    """Depth and index hash to the same value in another process."""
    from pathlib import Path

    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(Path(__file__).parent)], capture_output=True, text=True, check=True
    )
    assert run.stdout.split()[-1] == digest(threads=2)
