"""The rig in a scene of somebody else's: a falling ball among Isaac Lab's own shapes, under MuJoCo-Warp.

    ./isaaclab.sh -p docs/rig_sensor.py --out docs/rig_sensor.png

Nothing in the scene knows of mmnav but its sensor. Any of Isaac Lab's scenes can have one, as far as what is to be seen
is made of boxes, cylinders, cones, spheres and capsules.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import isaaclab.sim as sim_utils
import torch
from isaaclab.app import launch_simulation
from isaaclab.assets import AssetBaseCfg, RigidObjectCfg
from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
from isaaclab.sim import SimulationCfg, SimulationContext
from isaaclab.utils import configclass
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg

from mmnav.rig import fisheye_rig, plain_day
from mmnav.rig.picture import draw_rig
from mmnav_tasks.sensors import RigSensorCfg

BODY = {
    "rigid_props": sim_utils.UsdPhysicsRigidBodyCfg(),
    "mass_props": sim_utils.MassCfg(mass=1.0),
    "collision_props": sim_utils.UsdPhysicsCollisionCfg(),
}


def paint(red: float, green: float, blue: float) -> sim_utils.PreviewSurfaceCfg:
    """A matte colour."""
    return sim_utils.PreviewSurfaceCfg(diffuse_color=(red, green, blue))


@configclass
class ToysSceneCfg(InteractiveSceneCfg):
    """A robot without a motor, a ball in the air, and things that stand still."""

    floor = AssetBaseCfg(
        prim_path="/World/floor",
        spawn=sim_utils.CuboidCfg(size=(50.0, 50.0, 0.2), collision_props=BODY["collision_props"]),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.0, 0.0, -0.1)),
    )
    robot = RigidObjectCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.CuboidCfg(size=(0.6, 0.3, 0.3), visual_material=paint(0.2, 0.2, 0.2), **BODY),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(0.0, 0.0, 0.15)),
    )
    ball = RigidObjectCfg(
        prim_path="{ENV_REGEX_NS}/Ball",
        spawn=sim_utils.SphereCfg(radius=0.25, visual_material=paint(0.9, 0.2, 0.1), **BODY),
        init_state=RigidObjectCfg.InitialStateCfg(pos=(2.0, 0.3, 1.5)),
    )
    column = AssetBaseCfg(
        prim_path="{ENV_REGEX_NS}/Column",
        spawn=sim_utils.CylinderCfg(radius=0.2, height=1.4, visual_material=paint(0.2, 0.5, 0.9)),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.4, -1.8, 0.7)),
    )
    cone = AssetBaseCfg(
        prim_path="{ENV_REGEX_NS}/Cone",
        spawn=sim_utils.ConeCfg(radius=0.3, height=0.8, visual_material=paint(0.95, 0.6, 0.1)),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(-2.0, 0.2, 0.4)),
    )
    roll = AssetBaseCfg(
        prim_path="{ENV_REGEX_NS}/Roll",
        spawn=sim_utils.CapsuleCfg(radius=0.15, height=0.9, axis="X", visual_material=paint(0.3, 0.8, 0.3)),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.2, 1.6, 0.15)),
    )
    wall = AssetBaseCfg(
        prim_path="{ENV_REGEX_NS}/Wall",
        spawn=sim_utils.CuboidCfg(size=(0.1, 3.0, 1.0), visual_material=paint(0.8, 0.75, 0.6)),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(3.2, 0.0, 0.5), rot=(0.0, 0.0, 0.17, 0.985)),
    )
    rig = RigSensorCfg(
        prim_path="{ENV_REGEX_NS}/Robot/geometry",
        targets=["{ENV_REGEX_NS}/(Ball|Column|Cone|Roll|Wall)"],
        rig=lambda: fisheye_rig(192, 192),
        look=plain_day,
    )


@configclass
class ToysCfg:
    """What a simulation needs."""

    sim: SimulationCfg = SimulationCfg(dt=0.01, device="cpu", physics=NewtonCfg(solver_cfg=MJWarpSolverCfg()))
    scene: ToysSceneCfg = ToysSceneCfg(num_envs=2, env_spacing=8.0)


def main() -> None:
    """Lets the ball fall for 0.4 s and draws what the first robot sees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("rig_sensor.png"), help="picture to write")
    args = parser.parse_args()
    cfg = ToysCfg()
    with launch_simulation(cfg, argparse.Namespace(device="cpu", visualizer=None, physics=None)):
        sim = SimulationContext(cfg.sim)
        scene = InteractiveScene(cfg.scene)
        sim.reset()
        for _ in range(40):
            sim.step()
            scene.update(sim.get_physics_dt())
        data, views = scene["rig"].data, (scene.num_envs, 4)
        rgb = data.output["rgb"].torch.unflatten(0, views)[0]  # (C, H, W, 3)
        depth = data.output["distance_to_camera"].torch.unflatten(0, views)[0, ..., 0]  # (C, H, W)
        title = "A scene of Isaac Lab's own shapes after 0.4 s"
        draw_rig(fisheye_rig(192, 192), rgb.numpy(), depth.numpy(), title).savefig(args.out, dpi=80)
        label = data.output["semantic_segmentation"].torch.unflatten(0, views)[0, ..., 0]  # (C, H, W)
        names = data.info["semantic_segmentation"]["idToLabels"]
        seen = depth[0][label[0] == next(int(i) for i, name in names.items() if name["class"] == "sphere")].min()
        away = torch.dist(scene["ball"].data.root_link_pose_w.torch[0, :3], data.pos_w.torch[0]) - 0.25
        print(f"The ball is {away:.3f} m before the front camera, which sees it {seen:.3f} m away.")
        print(f"Picture: {args.out}")


if __name__ == "__main__":
    main()
