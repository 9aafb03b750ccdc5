"""Every state is labelled by the right expert, and recorded where and when it was."""

from __future__ import annotations

import json

import pytest
import torch
from processes import run_python

from mmnav.errors import UserError
from mmnav_tasks.collect import Collector, Disturbance

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def found() -> dict:
    done = run_python("tests/tasks/identifiable.py")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith("FOUND ")).removeprefix("FOUND ")
    )


def test_labels_come_from_the_expert_of_the_robots_capability(found):
    assert found["demos"] > 12
    assert found["wrong_labels"] == 0
    assert set(found["labelled_by"]) == {"Reach", "Squeeze", "Avoid"}


def test_capabilities_have_their_shares_of_the_robots(found):
    assert found["envs"] == [4, 5, 3]


def test_the_student_drives_but_for_the_share_that_is_mixed_in(found):
    assert found["mixed"] == pytest.approx(0.25, abs=0.04)
    assert found["wrong_actions"] == 0


def test_an_episode_is_recorded_in_its_own_layout_at_its_own_time(found):
    assert found["wrong_starts"] == 0
    assert found["wrong_goals"] == 0
    assert found["wrong_times"] == 0


def test_a_replayed_panorama_is_what_the_expert_saw(found):
    assert found["panorama_error"] < 1e-4


def test_a_student_learns_with_the_commands_that_it_knew_when_it_drove(found):
    assert found["command_error"] < 1e-6


def test_a_student_is_told_of_every_episode_that_ended(found):
    assert found["forgotten"] == found["ended"] > 0


def test_more_episodes_than_robots_are_evaluated_in_parts_on_the_layouts_of_their_families(found):
    """Every family has its own layouts, one each, and more of them go on where fewer end."""
    layouts = found["layouts"]
    assert [len(set(own)) for own in layouts.values()] == [6, 6, 6]
    assert {name: own[:4] for name, own in layouts.items()} == found["first_layouts"]
    assert len(set().union(*layouts.values())) == 18


def test_a_round_repeats_itself_and_another_round_differs(found):
    assert found["repeats"]
    assert found["differs"]


def test_pixels_are_kept_of_every_step_if_asked_for(found):
    assert found["pixels"]
    assert not found["pixels_unasked"]


def test_episodes_that_a_report_shows_go_as_they_were_evaluated(found):
    worst = [title.split(", ")[0] for title in found["told"] if title.endswith("of the worst")]
    assert worst == ["Reach", "Squeeze", "Avoid", "Reach", "Squeeze"]  # the families take turns
    assert found["told_as_evaluated"]


def test_progress_counts_every_episode_of_a_report_once_to_choose_and_once_to_record(found):
    assert found["told_counts_up"]


def test_no_episode_runs_over_the_end_of_another(found):
    assert found["steps"] == found["expected_steps"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_experts_are_led_astray_for_a_moment_and_as_often_as_said(share):
    def roll() -> tuple[torch.Tensor, torch.Tensor]:
        astray = Disturbance(200, share, torch.Generator().manual_seed(1))
        steps = [astray(torch.full((200, 3), 0.9)) for _ in range(300)]
        return torch.stack([action for action, _ in steps]), torch.stack([own for _, own in steps])

    action, own = roll()
    assert float((~own).float().mean()) == pytest.approx(share, abs=0.02)
    assert (action[own] == 0.9).all()
    assert action.abs().max() <= 1.0
    assert action[~own].std() > 0.3
    begins = (own[:-1] & ~own[1:]).sum()
    assert float((~own).sum() / begins) == pytest.approx(Disturbance.STEPS, rel=0.15)
    again, _ = roll()
    assert torch.equal(action, again)


def test_nobody_is_led_astray_unless_asked_for():
    action, own = Disturbance(50, 0.0, torch.Generator().manual_seed(1))(torch.full((50, 3), 0.5))
    assert own.all() and (action == 0.5).all()


def test_no_process_has_the_layouts_of_another_run():
    with pytest.raises(UserError, match="at most 50 processes"):
        Collector(None, {}, rank=50)
