"""What a run learns from is driven by whom it should be, as long as it must be, and once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from toy_robots import CFG, ToyRobots

from mmnav.distill import recording
from mmnav.distill.display import Display
from mmnav.distill.recording import Recorder
from mmnav.distill.settings import DistillCfg
from mmnav.errors import UserError
from mmnav.vla import make_student

pytestmark = pytest.mark.integration

SHARES = {"Reach": 0.2, "Squeeze": 0.5, "Avoid": 0.3}


def _recorder(folder: Path, robots: ToyRobots, cfg: DistillCfg = CFG) -> Recorder:
    return Recorder(cfg, folder, robots, {"torch": "2"}, Accelerator(cpu=True), Display(quiet=True))


@pytest.fixture(scope="module")
def student():
    return make_student("nano")


def test_experts_demonstrate_and_the_student_drives_in_iterations(tmp_path, student):
    robots, cfg = ToyRobots(), replace(CFG, mixing=0.3, disturbance=0.1)
    recorder = _recorder(tmp_path, robots, cfg)
    recorder.demonstrations()
    recorder.iteration(1, student, SHARES)
    experts = {"student": None, "mixing": 0.0, "disturbance": 0.1, "steps": 400}
    drives = {"student": student, "mixing": 0.3, "disturbance": 0.0, "steps": cfg.rollout_steps}
    assert robots.told == [experts, experts, drives]
    assert robots.shares[-1] == list(SHARES.values())


def test_only_successes_are_demonstrations_and_an_iteration_holds_everything(tmp_path, student):
    recorder = _recorder(tmp_path, ToyRobots())
    assert {demo.outcome for demo in recorder.demonstrations()} == {"success"}
    assert {demo.outcome for demo in recorder.iteration(1, student, SHARES)} == {"success", "unfinished"}


def test_every_capability_demonstrates_as_many_steps_as_were_asked_for_and_not_an_episode_more(tmp_path):
    """Two rounds of two successes of 20 steps make 80; of 60 steps, the last episode is not needed."""
    for steps in (80, 60):
        demos = _recorder(tmp_path, ToyRobots(), replace(CFG, demo_steps=steps)).demonstrations()
        assert Counter(demo.family for demo in demos for _ in range(len(demo))) == dict.fromkeys(SHARES, steps)


def test_nothing_is_driven_twice(tmp_path, student):
    """Neither what is complete, nor the rounds before an interruption."""

    class Stopped(ToyRobots):
        def collect(self, *args, **kwargs):
            if self.told:
                raise KeyboardInterrupt
            return super().collect(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt):
        _recorder(tmp_path / "stopped", Stopped()).demonstrations()
    robots = ToyRobots()
    recorder, whole = _recorder(tmp_path / "stopped", robots), _recorder(tmp_path / "whole", ToyRobots())
    layouts = [demo.layout for demo in whole.demonstrations()]
    assert [demo.layout for demo in recorder.demonstrations()] == layouts
    recorder.iteration(1, student, SHARES)
    assert len(robots.told) == 2
    again = _recorder(tmp_path / "stopped", robots)
    assert [demo.layout for demo in again.demonstrations()] == layouts
    again.iteration(1, student, SHARES)
    assert len(robots.told) == 2


def test_an_expert_that_reaches_nothing_ends_the_recording(tmp_path):
    class Lost(ToyRobots):
        def collect(self, *args, **kwargs):
            return [demo for demo in super().collect(*args, **kwargs) if demo.family != "Squeeze"]

    robots = Lost()
    with pytest.raises(UserError, match="the expert of Squeeze reached no goal in 5 rounds"):
        _recorder(tmp_path, robots).demonstrations()
    assert len(robots.told) == 5


def test_demonstrations_end_before_their_rounds_are_those_of_stage_2(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_FIRST_ITERATION", 1)
    with pytest.raises(UserError, match="demo_steps 80 take over 1 rounds; use more robots"):
        _recorder(tmp_path, ToyRobots()).demonstrations()


def test_an_episode_with_a_number_that_is_not_finite_is_left_out(tmp_path, student):
    class Glitching(ToyRobots):
        def collect(self, *args, **kwargs):
            demos = super().collect(*args, **kwargs)
            demos[0].velocity[3] = float("nan")
            return demos

    demos = _recorder(tmp_path, Glitching()).iteration(1, student, SHARES)
    assert Counter(demo.family for demo in demos) == {"Reach": 2, "Squeeze": 3, "Avoid": 3}
    assert all(np.isfinite(demo.velocity).all() for demo in demos)
