"""The layouts' primitives as bodies of PhysX: static colliders, and for the movers bodies too heavy to be pushed.

A kinematic body that is set to a new pose every step shoves others out of its way, and no contact sensor hears of it:
the overlap is mended without an impulse. So movers are dynamic bodies that are given their pose and velocity before
every step; what they run into feels a force.
"""

from __future__ import annotations

import torch
import warp as wp
from isaaclab.assets import RigidObject, RigidObjectCfg
from isaaclab.sensors import ContactSensorCfg
from pxr import Gf, Usd, UsdGeom, UsdPhysics

from mmnav.scenes import Kind, SceneBatch

ROOT = "/World/Layouts"
"""Where the bodies stand on the stage."""

_MOVER_MASS = 1.0e6
"""Mass of a mover [kg]: the base weighs 15."""


def prepare_for_bodies(cfg) -> None:
    """Gives an env configuration what PhysX needs: a contact sensor, and memory that PhysX can use without a GPU."""
    cfg.scene.robot.spawn.activate_contact_sensors = True
    cfg.scene.contact = ContactSensorCfg(prim_path="{ENV_REGEX_NS}/Robot", history_length=cfg.decimation)
    allow_no_driver()


def allow_no_driver() -> None:
    """Lets PhysX run where there is no CUDA driver.

    Warp cannot allocate pinned host memory there, which Isaac Lab 3.0.0 asks for even on a CPU; ordinary memory serves
    as well.
    """
    if not wp.is_cuda_available():
        cpu = wp.get_device("cpu")
        cpu.pinned_allocator = cpu.default_allocator


class Bodies:
    """Authors the bodies of E layouts before physics starts, and moves the movers afterwards.

    Shapes cannot be resized once physics runs: the layouts stay for the env's life.
    """

    def __init__(self, stage: Usd.Stage, scenes: SceneBatch, origins: torch.Tensor):
        """Authors the bodies.

        Args:
            stage: Stage of the simulation, before it is played.
            scenes: E layouts.
            origins: Origins of the envs in the world [m], shape [E, 3].
        """
        scenes, origins = scenes.to("cpu"), origins.cpu()
        self._origins = origins
        self._moving = (scenes.speed > 0.0).nonzero(as_tuple=True)
        UsdGeom.Xform.Define(stage, ROOT)
        place = (scenes.position + origins[:, None]).tolist()
        turn, size, speed = scenes.orientation.tolist(), scenes.size.tolist(), scenes.speed.tolist()
        for env, kinds in enumerate(scenes.kind.tolist()):
            for geom, kind in enumerate(kinds):
                if kind == Kind.NONE:
                    continue
                moves = speed[env][geom] > 0.0
                path = f"{ROOT}/{'mover' if moves else 'static'}_{env:05d}_{geom:02d}"
                prim = _shape(stage, path, kind, size[env][geom])
                _place(prim, place[env][geom], turn[env][geom])
                UsdPhysics.CollisionAPI.Apply(prim)
                if moves:
                    UsdPhysics.RigidBodyAPI.Apply(prim)
                    UsdPhysics.MassAPI.Apply(prim).CreateMassAttr(_MOVER_MASS)
        self._twist = torch.zeros(len(self._moving[0]), 6)
        self._pose = torch.cat([scenes.position + origins[:, None], scenes.orientation], -1)[self._moving]
        self._movers = None
        if len(self._pose):
            self._movers = RigidObject(RigidObjectCfg(prim_path=f"{ROOT}/mover_.*", spawn=None))

    def check(self) -> None:
        """Checks, once physics runs, that the bodies come in the order they were authored in.

        Raises:
            RuntimeError: If they do not.
        """
        if self._movers is not None:
            there = self._movers.data.root_link_pose_w.torch.cpu()
            if there.shape != self._pose.shape or (there[:, :3] - self._pose[:, :3]).abs().max() > 1e-3:
                raise RuntimeError("PhysX gives the movers in another order than they were authored in.")

    def move(self, before: torch.Tensor, after: torch.Tensor, dt: float) -> None:
        """Sends the movers on their way through the next physics step.

        Args:
            before: Centres of all primitives at its beginning, in their envs' frames [m], shape [E, K, 3].
            after: The same at its end.
            dt: Length of the step [s].
        """
        if self._movers is not None:
            env, geom = self._moving
            device = before.device
            self._pose, self._twist, self._origins = (t.to(device) for t in (self._pose, self._twist, self._origins))
            self._pose[:, :3] = before[env, geom] + self._origins[env]
            self._twist[:, :3] = (after - before)[env, geom] / dt
            self._movers.write_root_pose_to_sim_index(root_pose=self._pose)
            self._movers.write_root_velocity_to_sim_index(root_velocity=self._twist)


def _shape(stage: Usd.Stage, path: str, kind: int, size: list[float]) -> Usd.Prim:
    """Defines a shape of the given half extents [m], its axis along z."""
    radius, height = size[0], 2.0 * size[2]
    if kind == Kind.BOX:
        cube = UsdGeom.Cube.Define(stage, path)
        cube.CreateSizeAttr(2.0)
        cube.AddScaleOp().Set(Gf.Vec3f(*size))
        return cube.GetPrim()
    if kind == Kind.SPHERE:
        sphere = UsdGeom.Sphere.Define(stage, path)
        sphere.CreateRadiusAttr(radius)
        return sphere.GetPrim()
    schema = {Kind.CYLINDER: UsdGeom.Cylinder, Kind.CONE: UsdGeom.Cone, Kind.CAPSULE: UsdGeom.Capsule}[kind]
    shape = schema.Define(stage, path)
    shape.CreateRadiusAttr(radius)
    shape.CreateHeightAttr(height - 2.0 * radius if kind == Kind.CAPSULE else height)
    shape.CreateAxisAttr("Z")
    return shape.GetPrim()


def _place(prim: Usd.Prim, position: list[float], orientation: list[float]) -> None:
    """Sets a prim's pose in front of its scale."""
    xform = UsdGeom.Xformable(prim)
    scale = xform.GetOrderedXformOps()
    x, y, z, w = orientation
    translate, rotate = xform.AddTranslateOp(), xform.AddOrientOp(UsdGeom.XformOp.PrecisionDouble)
    translate.Set(Gf.Vec3d(*position))
    rotate.Set(Gf.Quatd(w, x, y, z))
    xform.SetXformOpOrder([translate, rotate, *scale])
