"""A student drives every robot by what that robot saw since its own episode began, and by nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mmnav.errors import UserError
from mmnav.robot import ROBOT
from mmnav.vla import make_student
from mmnav_tasks.policies import StudentPolicy, prepare, to_action, to_velocity

pytestmark = pytest.mark.unit

COUNT = 4


@pytest.fixture(scope="module")
def student():
    model, processor = make_student("nano")
    return model.eval(), processor


class Robots:
    """As much of an env as a student looks at: random goals, views and commands, the same at every step again."""

    def __init__(self):
        draws = torch.Generator().manual_seed(1)
        self.device, self.num_envs = torch.device("cpu"), COUNT
        self.views = torch.randint(0, 256, (9, COUNT, 4, 3, 32, 128), generator=draws, dtype=torch.uint8)
        self.commands = 2.0 * torch.rand(9, COUNT, 3, generator=draws) - 1.0
        self.goals = 10.0 * torch.rand(9, COUNT, 2, generator=draws)
        self.world, self.driver = SimpleNamespace(), SimpleNamespace()
        self.action_manager = SimpleNamespace(get_term={"velocity": self.driver}.__getitem__)

    def drive(self, policy: StudentPolicy, step: int) -> torch.Tensor:
        self.world.goal_offset, self.driver.processed_actions = self.goals[step], self.commands[step]
        return policy({"rgb": self.views[step]})


def actions(student, *, begin: int = 0, forgotten: dict | None = None, attended: dict | None = None) -> torch.Tensor:
    """Actions of the steps from ``begin`` on, shape [T, E, 3]."""
    robots, policy = Robots(), StudentPolicy(*student)
    policy.reset(robots)
    taken = []
    for step in range(begin, 9):
        if step in (forgotten or {}):
            policy.forget(torch.tensor(forgotten[step]))
        if step in (attended or {}):
            policy.attend(torch.tensor(attended[step]))
        taken.append(robots.drive(policy, step))
    return torch.stack(taken)


def test_a_robot_whose_episode_is_new_is_driven_as_if_it_had_seen_nothing_before(student):
    whole, late = actions(student), actions(student, begin=5)
    forgetful = actions(student, forgotten={5: [1, 3]})
    torch.testing.assert_close(forgetful[5:, [1, 3]], late[:, [1, 3]])
    torch.testing.assert_close(forgetful[:, [0, 2]], whole[:, [0, 2]])
    assert (whole[5:, [1, 3]] - late[:, [1, 3]]).abs().max() > 1e-4


def test_robots_that_nobody_attends_to_stand_still_and_change_nothing_for_the_others(student):
    whole, fewer = actions(student), actions(student, attended={4: [0, 2]})
    assert (fewer[4:, [1, 3]] == 0.0).all()
    torch.testing.assert_close(fewer[:, [0, 2]], whole[:, [0, 2]])


def test_the_same_precision_in_other_arithmetic_gives_nearly_the_same(student):
    """bf16 carries eight bits."""
    robots, ways = Robots(), []
    for precision in ("fp32", "bf16"):
        policy = StudentPolicy(*student, precision)
        policy.reset(robots)
        ways.append(torch.stack([robots.drive(policy, step) for step in range(9)]))
    assert 0.0 < (ways[0] - ways[1]).abs().max() < 0.05


def test_actions_and_velocities_are_each_others_inverse():
    action = 2.0 * torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) - 1.0
    velocity = to_velocity(action)
    torch.testing.assert_close(to_action(velocity), action)
    torch.testing.assert_close(to_velocity(torch.ones(1, 3)), torch.tensor([ROBOT.max_velocity]))
    torch.testing.assert_close(to_velocity(-torch.ones(1, 3)), torch.tensor([ROBOT.min_velocity]))


def env_cfg(**more) -> SimpleNamespace:
    return SimpleNamespace(sim=SimpleNamespace(dt=0.05), decimation=2, **more)


def test_an_env_gets_the_cameras_of_its_students_which_must_be_the_same(student):
    cfg = env_cfg()
    prepare(cfg, {"one": StudentPolicy(*student), "two": StudentPolicy(*student)})
    assert (cfg.rgb_views, cfg.rgb_field, cfg.rgb_samples) == ((128, 32), (130.0, 130.0), 2)
    wide = make_student("nano", field_of_view=[130.0, 150.0])
    with pytest.raises(UserError, match="one, wide were made for different cameras"):
        prepare(env_cfg(), {"one": StudentPolicy(*student), "wide": StudentPolicy(*wide)})


def test_a_student_of_other_control_steps_is_refused():
    slow = make_student("nano", control_step=0.2)
    with pytest.raises(UserError, match="control_step is 0.2 s"):
        prepare(env_cfg(), {"slow": StudentPolicy(*slow)})
