"""The comparison of ``scripts/benchmark.py env``: the same kind of task as Isaac Lab's own parts make it.

A dynamic body under Newton's MuJoCo-Warp solver, obstacles as kinematic bodies that a reset poses anew, a contact
sensor for collisions and a ray caster for depth. It is for measuring only: no layouts, no curriculum, no agent.
"""

from __future__ import annotations

import math

import isaaclab.sim as sim_utils
import torch
from isaaclab.assets import RigidObjectCfg, RigidObjectCollectionCfg
from isaaclab.envs import ManagerBasedRLEnvCfg, mdp
from isaaclab.managers import (
    ActionTerm,
    ActionTermCfg,
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from isaaclab.sensors import ContactSensorCfg, MultiMeshRayCasterCfg, patterns
from isaaclab.sim import SimulationCfg
from isaaclab.utils import configclass
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg

from mmnav.robot import ROBOT

from ..tasks.navigation import ENV_SPACING, NavigationSceneCfg

RAY_COUNT = 180
"""Rays of the stock scan, all round in one plane."""

SCAN_RANGE = 6.0
"""Largest depth of the stock scan [m]."""


def _obstacle(index: int) -> RigidObjectCfg:
    """A kinematic body 1 m high: six boxes, then cylinders."""
    body = {
        "rigid_props": sim_utils.RigidBodyPropertiesCfg(kinematic_enabled=True, disable_gravity=True),
        "collision_props": sim_utils.CollisionPropertiesCfg(),
    }
    if index < 6:
        spawn = sim_utils.CuboidCfg(size=(0.4 + 0.2 * (index % 3), 0.6, 1.0), **body)
    else:
        spawn = sim_utils.CylinderCfg(radius=0.15 + 0.05 * (index - 6), height=1.0, **body)
    # Isaac Lab tells a collection's bodies from the robot by their names' prefix; MuJoCo-Warp sizes its buffers, and
    # with them its work, by the contacts at the start: none
    start = RigidObjectCfg.InitialStateCfg(pos=(1.2 * index - 5.4, 4.0, 0.5))
    return RigidObjectCfg(prim_path=f"{{ENV_REGEX_NS}}/Obstacle_{index}", spawn=spawn, init_state=start)


OBSTACLES = {f"obstacle_{index}": _obstacle(index) for index in range(10)}
"""The ten obstacles."""


@configclass
class StockSceneCfg(NavigationSceneCfg):
    """Our floor, light and robot, with obstacles as bodies and Isaac Lab's sensors."""

    obstacles = RigidObjectCollectionCfg(rigid_objects=OBSTACLES)
    contact = ContactSensorCfg(prim_path="{ENV_REGEX_NS}/Robot", history_length=2)
    rays = MultiMeshRayCasterCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        mesh_prim_paths=[
            MultiMeshRayCasterCfg.RaycastTargetCfg(prim_expr=obstacle.prim_path, is_shared=True)
            for obstacle in OBSTACLES.values()
        ],
        ray_alignment="base",  # "yaw" would leave the directions in the world's frame
        pattern_cfg=patterns.LidarPatternCfg(
            channels=1,
            vertical_fov_range=(0.0, 0.0),
            horizontal_fov_range=(-180.0, 180.0),
            horizontal_res=360.0 / RAY_COUNT,
        ),
        max_distance=SCAN_RANGE,
    )

    def __post_init__(self):
        """Has the robot report its contacts."""
        self.robot.spawn.activate_contact_sensors = True


class RootVelocityAction(ActionTerm):
    """Scales actions to the robot's limits, turns them into the world's frame and writes them as root velocity."""

    def __init__(self, cfg: RootVelocityActionCfg, env):
        super().__init__(cfg, env)
        self._raw = torch.zeros(self.num_envs, 3, device=self.device)
        self._scale = torch.tensor(ROBOT.max_velocity, device=self.device)
        self._twist = torch.zeros(self.num_envs, 6, device=self.device)

    @property
    def action_dim(self) -> int:
        """Forward, leftward and yaw velocity."""
        return 3

    @property
    def raw_actions(self) -> torch.Tensor:
        """Actions as given, shape [E, 3]."""
        return self._raw

    @property
    def processed_actions(self) -> torch.Tensor:
        """Commanded velocity in the base's frame [m/s, m/s, rad/s], shape [E, 3]."""
        return self._raw.clamp(-1.0, 1.0) * self._scale

    def process_actions(self, actions: torch.Tensor) -> None:
        """Takes the policy's actions."""
        self._raw[:] = actions

    def apply_actions(self) -> None:
        """Writes the velocity, turned into the world's frame."""
        heading, velocity = self._asset.data.heading_w.torch, self.processed_actions
        cos, sin = heading.cos(), heading.sin()
        self._twist[:, 0] = cos * velocity[:, 0] - sin * velocity[:, 1]
        self._twist[:, 1] = sin * velocity[:, 0] + cos * velocity[:, 1]
        self._twist[:, 5] = velocity[:, 2]
        self._asset.write_root_velocity_to_sim_index(root_velocity=self._twist)


@configclass
class RootVelocityActionCfg(ActionTermCfg):
    """Settings of :class:`RootVelocityAction`."""

    class_type: type = RootVelocityAction
    asset_name: str = "robot"


def scan(env) -> torch.Tensor:
    """Depth along the rays [m], shape [E, R]."""
    sensor = env.scene["rays"].data
    depth = (sensor.ray_hits_w.torch - sensor.pos_w.torch[:, None]).norm(dim=-1)
    return depth.nan_to_num(SCAN_RANGE, posinf=SCAN_RANGE).clamp(max=SCAN_RANGE)


def arrived(env) -> torch.Tensor:
    """Whether the goal is within 0.5 m, shape [E]."""
    return env.command_manager.get_command("goal")[:, :2].norm(dim=-1) < 0.5


def approach(env) -> torch.Tensor:
    """Nearness of the goal, in [0, 1], shape [E]."""
    return 1.0 - torch.tanh(env.command_manager.get_command("goal")[:, :2].norm(dim=-1) / 2.0)


def scatter_obstacles(env, env_ids: torch.Tensor | slice) -> None:
    """Poses the obstacles anew round the robot's start, in turn 1.5 to 3 m and 4 to 5.5 m away: none touch."""
    ids = torch.arange(env.num_envs, device=env.device)[env_ids]
    order = torch.arange(len(OBSTACLES), device=env.device).expand(len(ids), -1)
    draw = torch.rand(3, *order.shape, device=env.device)
    bearing = 2.0 * math.pi * (order + 0.5 * draw[0]) / len(OBSTACLES) + 2.0 * math.pi * draw[2, :, :1]
    radius, half_yaw = 1.5 + 1.5 * draw[1] + 2.5 * (order % 2), math.pi * draw[2]
    pose = torch.zeros(*order.shape, 7, device=env.device)
    pose[..., 0], pose[..., 1], pose[..., 2] = radius * bearing.cos(), radius * bearing.sin(), 0.5
    pose[..., :3] += env.scene.env_origins[ids, None]
    pose[..., 5], pose[..., 6] = half_yaw.sin(), half_yaw.cos()
    env.scene["obstacles"].write_body_pose_to_sim_index(body_poses=pose, env_ids=ids.int())


@configclass
class ObservationsCfg:
    """One group with everything."""

    @configclass
    class PolicyCfg(ObservationGroupCfg):
        """Goal, velocity, last action and depth."""

        goal = ObservationTermCfg(func=mdp.generated_commands, params={"command_name": "goal"})
        velocity = ObservationTermCfg(func=mdp.base_lin_vel)
        last_action = ObservationTermCfg(func=mdp.last_action)
        depth = ObservationTermCfg(func=scan)

    policy: PolicyCfg = PolicyCfg()


@configclass
class ActionsCfg:
    """The base's velocity."""

    velocity = RootVelocityActionCfg()


@configclass
class CommandsCfg:
    """A goal for every episode."""

    goal = mdp.UniformPose2dCommandCfg(
        asset_name="robot",
        simple_heading=True,
        resampling_time_range=(1e6, 1e6),
        ranges=mdp.UniformPose2dCommandCfg.Ranges(pos_x=(-5.0, 5.0), pos_y=(-5.0, 5.0), heading=(0.0, 0.0)),
    )


@configclass
class EventsCfg:
    """A new heading and new obstacle poses at every reset."""

    robot = EventTermCfg(
        func=mdp.reset_root_state_uniform,
        mode="reset",
        params={"pose_range": {"yaw": (-math.pi, math.pi)}, "velocity_range": {}},
    )
    obstacles = EventTermCfg(func=scatter_obstacles, mode="reset")


@configclass
class RewardsCfg:
    """Approach, collisions and smoothness."""

    approach = RewardTermCfg(func=approach, weight=1.0)
    collision = RewardTermCfg(func=mdp.is_terminated_term, weight=-6.0, params={"term_keys": "collision"})
    action_rate = RewardTermCfg(func=mdp.action_rate_l2, weight=-0.2)


@configclass
class TerminationsCfg:
    """Arrived, collided, out of time."""

    collision = TerminationTermCfg(
        func=mdp.illegal_contact, params={"sensor_cfg": SceneEntityCfg("contact"), "threshold": 1.0}
    )
    success = TerminationTermCfg(func=arrived)
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)


@configclass
class StockEnvCfg(ManagerBasedRLEnvCfg):
    """The stock task, at our task's control and physics rates."""

    scene: StockSceneCfg = StockSceneCfg(num_envs=64, env_spacing=ENV_SPACING)
    sim: SimulationCfg = SimulationCfg(
        dt=0.05,
        render_interval=2,
        gravity=(0.0, 0.0, 0.0),
        physics=NewtonCfg(solver_cfg=MJWarpSolverCfg(njmax=100, nconmax=40, iterations=10, ls_iterations=10)),
    )
    observations: ObservationsCfg = ObservationsCfg()
    actions: ActionsCfg = ActionsCfg()
    commands: CommandsCfg = CommandsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    decimation: int = 2
    episode_length_s: float = 40.0
