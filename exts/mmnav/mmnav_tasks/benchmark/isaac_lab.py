"""Isaac Lab's Camera sensors in front of the first world of a frame, for ``benchmark.py rig``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from io import StringIO

import isaaclab.sim as sim_utils
from isaaclab.app import launch_simulation
from isaaclab.assets import AssetBaseCfg, RigidObjectCfg
from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
from isaaclab.sensors import CameraCfg
from isaaclab.sim import SimulationCfg, SimulationContext
from isaaclab.utils import configclass
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg
from isaaclab_newton.renderers import NewtonWarpRendererCfg

from mmnav.scenes import Kind

from .renderers import COLOR, DEPTH, Contender, Frame


def isaac_lab_cameras(frame: Frame, stack: ExitStack) -> Iterator[Contender]:
    """Four Camera sensors a robot with the newton renderer: pinholes of the same resolution, 90 degrees wide.

    Every env holds the primitives of the first world. A cone is drawn as Isaac Lab's cone, and so on; the sensors'
    own bookkeeping counts, as nobody can use them without.

    Args:
        frame: What everybody renders.
        stack: Closes the simulation.
    """
    physics = NewtonCfg(solver_cfg=MJWarpSolverCfg())
    sim_cfg = SimulationCfg(device="cpu", physics=physics, gravity=(0.0, 0.0, 0.0))
    cfg = argparse.Namespace(sim=sim_cfg, scene=_scene(frame))
    with redirect_stdout(StringIO()):
        stack.enter_context(launch_simulation(cfg, argparse.Namespace(device="cpu", visualizer=None, physics=None)))
        sim = SimulationContext(cfg.sim)
        stack.callback(SimulationContext.clear_instance)
        scene = InteractiveScene(cfg.scene)
        sim.reset()
        sim.step()
    for output in (COLOR, DEPTH):
        sensors = [scene[_camera_name(index, output)] for index in range(len(frame.cfg.cameras))]

        def render(sensors=sensors) -> None:
            for sensor in sensors:
                sensor.update(0.01, force_recompute=True)

        yield Contender("Isaac Lab Camera, newton renderer", output, frame.pixels, render)


@configclass
class _SceneCfg(InteractiveSceneCfg):
    """A floor and a robot; shapes and cameras are added."""

    floor = AssetBaseCfg(
        prim_path="/World/floor",
        spawn=sim_utils.CuboidCfg(size=(2000.0, 2000.0, 0.2)),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.0, 0.0, -0.1)),
    )
    robot = RigidObjectCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.SphereCfg(
            radius=0.01, rigid_props=sim_utils.UsdPhysicsRigidBodyCfg(), mass_props=sim_utils.MassCfg(mass=1.0)
        ),
    )


def _scene(frame: Frame) -> _SceneCfg:
    """What the envs hold."""
    cfg = _SceneCfg(num_envs=frame.scene.env_count, env_spacing=40.0)
    cfg.robot.init_state = RigidObjectCfg.InitialStateCfg(
        pos=tuple(frame.position[0].tolist()), rot=tuple(frame.orientation[0].tolist())
    )
    for k in (frame.scene.kind[0] != Kind.NONE).nonzero()[:, 0].tolist():
        setattr(cfg, f"shape{k}", _shape(frame, k))
    for output in (COLOR, DEPTH):
        for index in range(len(frame.cfg.cameras)):
            setattr(cfg, _camera_name(index, output), _camera(frame, index, output))
    return cfg


def _shape(frame: Frame, k: int) -> AssetBaseCfg:
    """Primitive ``k`` of the first world."""
    kind, (x, y, z) = int(frame.scene.kind[0, k]), frame.scene.size[0, k].tolist()
    color = sim_utils.PreviewSurfaceCfg(diffuse_color=tuple(frame.scene.color[0, k].tolist()))
    spawn = {
        Kind.BOX: lambda: sim_utils.CuboidCfg(size=(2 * x, 2 * y, 2 * z), visual_material=color),
        Kind.CYLINDER: lambda: sim_utils.CylinderCfg(radius=x, height=2 * z, visual_material=color),
        Kind.CONE: lambda: sim_utils.ConeCfg(radius=x, height=2 * z, visual_material=color),
        Kind.SPHERE: lambda: sim_utils.SphereCfg(radius=x, visual_material=color),
        Kind.CAPSULE: lambda: sim_utils.CapsuleCfg(radius=x, height=2 * (z - x), visual_material=color),
    }[kind]()
    pose = {"pos": tuple(frame.scene.position[0, k].tolist()), "rot": tuple(frame.scene.orientation[0, k].tolist())}
    return AssetBaseCfg(
        prim_path=f"{{ENV_REGEX_NS}}/Shape{k}", spawn=spawn, init_state=AssetBaseCfg.InitialStateCfg(**pose)
    )


def _camera(frame: Frame, index: int, output: str) -> CameraCfg:
    """A sensor where the rig has its camera."""
    mount = frame.cfg.cameras[index]
    half = mount.yaw / 2.0
    return CameraCfg(
        prim_path=f"{{ENV_REGEX_NS}}/Robot/geometry/{_camera_name(index, output)}",
        width=frame.cfg.width,
        height=frame.cfg.height,
        data_types=["depth"] if output == DEPTH else ["rgb", "depth"],
        update_latest_camera_pose=True,
        spawn=sim_utils.PinholeCameraCfg(focal_length=10.0, horizontal_aperture=20.0, clipping_range=(0.01, 20.0)),
        offset=CameraCfg.OffsetCfg(
            pos=mount.position, rot=(0.0, 0.0, math.sin(half), math.cos(half)), convention="world"
        ),
        renderer_cfg=NewtonWarpRendererCfg(use_cuda_graph=False),
    )


def _camera_name(index: int, output: str) -> str:
    return f"{output.split()[0]}{index}"
