"""What all point-goal tasks share: scene, robot, observations, terminations, curriculum."""

from __future__ import annotations

from dataclasses import MISSING

import isaaclab.sim as sim_utils
from isaaclab.assets import AssetBaseCfg, RigidObjectCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import (
    CurriculumTermCfg,
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    TerminationTermCfg,
)
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sim import SimulationCfg
from isaaclab.utils import configclass

from mmnav.rig import DEPTH_RIG, fisheye_rig, random_day
from mmnav.robot import ROBOT

from .. import mdp
from ..physics import PhysicsPresets

ENV_SPACING = 16.0
"""Distance between env origins [m]: more than any arena is wide."""


@configclass
class NavigationSceneCfg(InteractiveSceneCfg):
    """A floor, a light and the robot. Obstacles are arrays (``env.world``); under PhysX they become bodies as well."""

    floor = AssetBaseCfg(
        prim_path="/World/floor",
        spawn=sim_utils.CuboidCfg(
            size=(4000.0, 4000.0, 0.02),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=(0.4, 0.4, 0.4)),
        ),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.0, 0.0, -0.01)),
    )
    light = AssetBaseCfg(prim_path="/World/light", spawn=sim_utils.DomeLightCfg(intensity=2000.0))
    robot = RigidObjectCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.CuboidCfg(
            size=tuple(2.0 * half for half in ROBOT.half_extents),
            rigid_props=sim_utils.RigidBodyPropertiesCfg(disable_gravity=True),
            mass_props=sim_utils.MassPropertiesCfg(mass=15.0),
            collision_props=sim_utils.CollisionPropertiesCfg(),
            visual_material=sim_utils.PreviewSurfaceCfg(diffuse_color=(0.1, 0.6, 0.2)),
        ),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, 0.0, ROBOT.center_height)),
    )


@configclass
class ObservationsCfg:
    """Groups: ``panorama`` and ``state`` for the actor, ``scan``, ``state`` and ``privileged`` for the critic."""

    @configclass
    class PanoramaCfg(ObservationGroupCfg):
        """Depth all around and the velocity of what is seen."""

        depth = ObservationTermCfg(func=mdp.observations.panorama)

    @configclass
    class StateCfg(ObservationGroupCfg):
        """Goal, velocity, last action, and where the base came from."""

        goal = ObservationTermCfg(func=mdp.observations.goal)
        velocity = ObservationTermCfg(func=mdp.observations.velocity)
        last_action = ObservationTermCfg(func=mdp.observations.last_action)
        trail = ObservationTermCfg(func=mdp.observations.Trail, params={"seconds": (1.0, 2.0, 4.0, 8.0, 16.0)})

    @configclass
    class ScanCfg(ObservationGroupCfg):
        """The nearest pixel of every column."""

        depth = ObservationTermCfg(func=mdp.observations.scan)

    @configclass
    class PrivilegedCfg(ObservationGroupCfg):
        """What helps to judge a state but not to act in it."""

        clearance = ObservationTermCfg(func=mdp.observations.clearance)
        way_to_go = ObservationTermCfg(func=mdp.observations.way_to_go)
        elapsed = ObservationTermCfg(func=mdp.observations.elapsed)
        movers = ObservationTermCfg(func=mdp.observations.movers, params={"count": 8})

    @configclass
    class RgbCfg(ObservationGroupCfg):
        """Colour images of the student's cameras."""

        rgb = ObservationTermCfg(
            func=mdp.observations.Rgb, params={"rig": fisheye_rig, "width": 128, "height": 128, "look": random_day}
        )

    panorama: PanoramaCfg = PanoramaCfg()
    state: StateCfg = StateCfg()
    scan: ScanCfg = ScanCfg()
    privileged: PrivilegedCfg = PrivilegedCfg()
    rgb: RgbCfg | None = None
    """None, or ``RgbCfg()`` for images; ``env.rgb_views=[64,64]`` on a command line does the same at that size."""


@configclass
class ActionsCfg:
    """The base's velocity."""

    velocity = mdp.BaseVelocityActionCfg(asset_name="robot")


@configclass
class EventsCfg:
    """A new layout at every reset."""

    reset_world = EventTermCfg(func=mdp.events.reset_world, mode="reset")


@configclass
class RewardsCfg:
    """Weights of the terms; a task changes them in its own file."""

    progress = RewardTermCfg(func=mdp.rewards.progress, weight=1.0)
    success = RewardTermCfg(func=mdp.rewards.success, weight=10.0)
    collision = RewardTermCfg(func=mdp.rewards.collision, weight=-6.0)
    alive = RewardTermCfg(func=mdp.rewards.alive, weight=-0.2)
    proximity = RewardTermCfg(func=mdp.rewards.proximity, weight=-0.5, params={"distance": 0.15})
    action_change = RewardTermCfg(func=mdp.rewards.action_change, weight=-0.05)
    action_excess = RewardTermCfg(func=mdp.rewards.action_excess, weight=-0.5)


@configclass
class TerminationsCfg:
    """Arrived, collided, out of time; exactly one of them ends an episode."""

    collision = TerminationTermCfg(func=mdp.terminations.collision)
    success = TerminationTermCfg(func=mdp.terminations.success, params={"radius": 0.5})
    time_out = TerminationTermCfg(func=mdp.terminations.time_out, time_out=True)


@configclass
class CurriculumCfg:
    """Layouts get harder with success."""

    difficulty = CurriculumTermCfg(
        func=mdp.curriculum.Difficulty,
        params={"start": 0.0, "step": 0.1, "threshold": 0.7, "episodes": 300},
    )


@configclass
class NavigationEnvCfg(ManagerBasedRLEnvCfg):
    """A point-goal task in procedural layouts; subclasses name the scene family."""

    layout: object = MISSING
    """Scene family, one of :data:`mmnav.scenes.SCENES`."""
    difficulty: float = 1.0
    """Difficulty of the layouts where no curriculum sets it, in [0, 1]."""
    layouts: list[int] | None = None
    """Seeds of the envs' layouts, one each, for evaluation; an endless stream of fresh ones if None."""
    geodesic_progress: bool = False
    """Whether progress counts along the shortest way past the static obstacles instead of straight to the goal."""
    depth_views: tuple[int, int] = (DEPTH_RIG.width, DEPTH_RIG.height)
    """Width and height of each of the four depth views [px]."""
    rgb_views: tuple[int, int] | None = None
    """Width and height of each of the four colour views [px]; no colour if None."""
    rgb_field: tuple[float, float | None] = (130.0, None)
    """Field of the colour views across and down [degrees]; square pixels if the latter is None."""
    rgb_samples: int = 1
    """Rays a pixel of the colour views: 1, 2 or 4."""

    scene: NavigationSceneCfg = NavigationSceneCfg(num_envs=512, env_spacing=ENV_SPACING)
    sim: SimulationCfg = SimulationCfg(dt=0.05, render_interval=2, gravity=(0.0, 0.0, 0.0), physics=PhysicsPresets())
    observations: ObservationsCfg = ObservationsCfg()
    actions: ActionsCfg = ActionsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    curriculum: CurriculumCfg = CurriculumCfg()
    decimation: int = 2
    episode_length_s: float = 40.0
