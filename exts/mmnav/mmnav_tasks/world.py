"""World: a SceneBatch inside an Isaac Lab env, the one place where arrays, bodies and resets meet."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from mmnav.rig import Panorama, depth_rig
from mmnav.rig.panorama import to_base
from mmnav.robot import ROBOT
from mmnav.scenes import SceneBatch, advance, generate
from mmnav.scenes.clearance import Clearance
from mmnav.scenes.geodesic import DistanceField, geodesic
from mmnav.scenes.occupancy import Grid

FAR_AWAY = 2.0
"""Clearances are told apart up to this distance [m]."""

_WAY_CELL = 0.05
_WAY_RADIUS = 0.2
"""Spacing [m] and robot radius [m] of the shortest ways that shape rewards: half the robot's width and a margin.

A gap under 0.40 m is no way then: paid for going there, experts died in such gaps more than anywhere else.
"""

_CONTACT_FORCE = 1.0
"""Contact force [N] that counts as a collision under PhysX."""


class Layouts(Protocol):
    """Where an env's next layout comes from; see :mod:`mmnav_tasks.layouts`."""

    cfg: object
    difficulty: float
    is_endless: bool

    def take(self, env_ids: torch.Tensor) -> SceneBatch:
        """The next layouts of the given envs."""
        ...


class World:
    """Keeps E worlds and what the robots in them sense.

    :meth:`advance` moves the clock and feels for what the robots touched in the physics step before; whatever else is
    read after it is brought up to date once, at the first read.
    Positions are in each env's own frame: the env's origin is where its layout's origin is.
    """

    def __init__(self, env, layouts: Layouts, bodies=None):
        """Starts with the first layouts; :meth:`reset` puts the robots into them.

        Args:
            env: Isaac Lab env whose scene has an asset ``robot`` and, under PhysX, a sensor ``contact``.
            layouts: Where the layouts come from.
            bodies: Under PhysX, the layouts' :class:`mmnav_tasks.physics.bodies.Bodies`.
        """
        count, self.device = env.num_envs, torch.device(env.device)
        self._robot = env.scene["robot"]
        self._contact = env.scene["contact"] if "contact" in env.scene.keys() else None
        self._bodies = bodies
        self._origins = env.scene.env_origins
        self.layouts = layouts
        self.has_movers = bool(generate(layouts.cfg, np.arange(8)).speed.any())
        self.scene = layouts.take(torch.arange(count)).to(self.device).clone()
        k = self.scene.geom_count
        zeros = lambda *shape: torch.zeros(count, *shape, device=self.device)  # noqa: E731
        self.time = zeros()
        """Time since each episode's start [s], shape [E]."""
        self.position, self.orientation = zeros(3), zeros(4)
        self.geom_position, self.geom_velocity = zeros(k, 3), zeros(k, 3)
        self._geom_before, self._position_before = zeros(k, 3), zeros(3)
        self._least_clearance, self._goal_distance, self._progress = zeros(), zeros(), zeros()
        self._collided = zeros().bool()
        self._path_length, self._clearance_sum, self._steps = zeros(), zeros(), zeros()
        self.ended_path_length, self.ended_clearance = zeros(), zeros()
        """Way driven [m] and mean clearance [m] of the episode that each env ended last, shape [E]."""
        self._clearance = Clearance(self.scene, ROBOT, max_distance=FAR_AWAY)
        self._panorama = Panorama(depth_rig(*env.cfg.depth_views), self.scene, has_movers=self.has_movers)
        self._way = _way_field(self.scene) if env.cfg.geodesic_progress else None
        self._way_to_go = zeros()
        self._is_sensed = self._is_seen = False
        self.colour_wanted = torch.ones(count, dtype=torch.bool, device=self.device)
        """Whether anybody looks at an env's colour views, shape [E]; they keep their last images otherwise."""

    def advance(self, dt: float) -> None:
        """Lets ``dt`` [s] pass: called by the action term before every physics step."""
        if self._is_sensed:  # a control step begins
            self._least_clearance.fill_(FAR_AWAY)
            self._collided.fill_(False)
        else:
            self._feel()
        self.time += dt
        self._is_sensed = self._is_seen = False
        if self._bodies is not None:
            before = self.geom_position.clone()
            advance(self.scene, self.time, self.geom_position, self.geom_velocity)
            self._bodies.move(before, self.geom_position, dt)

    def reset(self, env_ids: torch.Tensor | slice) -> None:
        """Gives envs their next layouts and puts their robots at the starts, standing still."""
        if isinstance(env_ids, slice):
            env_ids = torch.arange(len(self.time), device=self.device)[env_ids]
        env_ids = env_ids.long()
        self.ended_path_length[env_ids] = self._path_length[env_ids]
        self.ended_clearance[env_ids] = self._clearance_sum[env_ids] / self._steps[env_ids].clamp(min=1.0)
        for total in (self._path_length, self._clearance_sum, self._steps):
            total[env_ids] = 0.0
        scenes = self.layouts.take(env_ids).to(self.device)
        self.scene.assign(env_ids, scenes)
        self.time[env_ids] = 0.0
        pose = torch.cat(scenes.start_poses(ROBOT.center_height), -1)
        self.position[env_ids], self.orientation[env_ids] = pose[:, :3], pose[:, 3:]
        place, velocity = torch.empty_like(scenes.position), torch.empty_like(scenes.position)
        advance(scenes, self.time[env_ids], place, velocity)
        self.geom_position[env_ids] = self._geom_before[env_ids] = place
        self.geom_velocity[env_ids] = velocity
        self._position_before[env_ids] = pose[:, :3]
        self._goal_distance[env_ids] = (scenes.goal - scenes.start[:, :2]).norm(dim=-1)
        self._progress[env_ids] = 0.0
        here = (self.position[env_ids], self.orientation[env_ids], place)
        self._least_clearance[env_ids] = Clearance(scenes, ROBOT, max_distance=FAR_AWAY).update(*here)[0]
        self._way_to_go[env_ids] = self._goal_distance[env_ids]
        if self._way is not None:
            fresh = geodesic(scenes, _WAY_RADIUS, _WAY_CELL)
            rows, columns = fresh.grid.shape
            self._way.value[env_ids] = torch.inf
            self._way.value[env_ids, :rows, :columns] = fresh.value
            self._way.grid.origin[env_ids] = fresh.grid.origin
            to_go = fresh.at(scenes.start[:, :2])
            self._way_to_go[env_ids] = torch.where(to_go.isfinite(), to_go, self._goal_distance[env_ids])
        self._collided[env_ids] = False
        pose[:, :3] += self._origins[env_ids]
        ids = env_ids.int()
        self._robot.write_root_pose_to_sim_index(root_pose=pose, env_ids=ids)
        self._robot.write_root_velocity_to_sim_index(root_velocity=torch.zeros_like(pose[:, :6]), env_ids=ids)
        # the others were sensed before this reset; reading the poses back would round them differently
        self._is_sensed, self._is_seen = True, False

    def heading(self) -> torch.Tensor:
        """Yaw of the robots as the simulation has it now [rad], shape [E]."""
        return _yaw(self._robot.data.root_link_pose_w.torch[:, 3:])

    def to_base(self, vector: torch.Tensor) -> torch.Tensor:
        """Turns horizontal vectors [E, ..., 2] into the bases' frames."""
        return to_base(vector, self.orientation)

    def _feel(self) -> None:
        """Follows the robots and the movers through one physics step, and what they came near or touched in it."""
        pose = self._robot.data.root_link_pose_w.torch
        torch.sub(pose[:, :3], self._origins, out=self.position)
        self.orientation.copy_(pose[:, 3:])
        if self.has_movers:
            advance(self.scene, self.time, self.geom_position, self.geom_velocity)
        way = self.position - self._position_before
        distance, _ = self._clearance.update(
            self.position,
            self.orientation,
            self.geom_position,
            self.geom_position - self._geom_before if self.has_movers else None,
            way if self.has_movers else None,
        )
        torch.minimum(self._least_clearance, distance, out=self._least_clearance)
        self._collided |= (distance <= 0.0) | ~self.position.isfinite().all(-1)
        self._path_length += way[:, :2].norm(dim=-1).nan_to_num_(0.0)
        self._geom_before.copy_(self.geom_position)
        self._position_before.copy_(self.position)

    def _sense(self) -> None:
        """Brings everything but the views up to date, once after every control step."""
        if self._is_sensed:
            return
        self._feel()
        if self._contact is not None:
            force = self._contact.data.net_forces_w_history.torch.norm(dim=-1).flatten(1).amax(-1)
            self._collided |= force > _CONTACT_FORCE
        self._goal_distance.copy_((self.scene.goal - self.position[:, :2]).norm(dim=-1))
        to_go = self._goal_distance if self._way is None else self._way.at(self.position[:, :2].nan_to_num(0.0))
        to_go = torch.where(to_go.isfinite(), to_go, self._way_to_go)  # squeezed in where the field has no way
        torch.sub(self._way_to_go, to_go, out=self._progress)
        self._way_to_go.copy_(to_go)
        self._clearance_sum += self._least_clearance
        self._steps += 1.0
        self._is_sensed = True

    def _see(self) -> None:
        """Renders the depth panorama, once after every control step and its resets."""
        if self._is_seen:
            return
        self._sense()
        here = (self.position, self.orientation, self.geom_position)
        self._free, self._surface_velocity = self._panorama.look(*here, self.geom_velocity)
        self._is_seen = True

    @property
    def clearance(self) -> torch.Tensor:
        """Distance from the robot to the nearest surface during the last step [m], at most 2 m, shape [E]."""
        self._sense()
        return self._least_clearance

    @property
    def collided(self) -> torch.Tensor:
        """Whether the robot touched anything during the last step, shape [E]."""
        self._sense()
        return self._collided

    @property
    def goal_distance(self) -> torch.Tensor:
        """Distance from the robot to its goal [m], shape [E]."""
        self._sense()
        return self._goal_distance

    @property
    def goal_offset(self) -> torch.Tensor:
        """Goal in the base's frame [m], shape [E, 2]."""
        self._sense()
        return self.to_base(self.scene.goal - self.position[:, :2])

    @property
    def progress(self) -> torch.Tensor:
        """How much shorter the way to the goal became during the last step [m], shape [E].

        The way is straight, or with ``geodesic_progress`` the shortest past the static primitives.
        """
        self._sense()
        return self._progress

    @property
    def way_to_go(self) -> torch.Tensor:
        """Length of the way that :attr:`progress` counts along [m], shape [E]."""
        self._sense()
        return self._way_to_go

    @property
    def place(self) -> torch.Tensor:
        """Where the robots are (x, y) [m], shape [E, 2]."""
        self._sense()
        return self.position[:, :2]

    @property
    def pose(self) -> torch.Tensor:
        """Pose of the robots (x, y, yaw) [m, m, rad], shape [E, 3]."""
        return torch.cat([self.place, _yaw(self.orientation)[:, None]], -1)

    @property
    def base_pose(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of the bases in their envs' frames [m], shape [E, 3], and their quaternions, shape [E, 4]."""
        self._sense()
        return self.position, self.orientation

    @property
    def depth(self) -> torch.Tensor:
        """Depth of the views F, R, B, L side by side [m], shape [E, H, 4 W]."""
        self._see()
        return self._panorama.rig.depth.transpose(1, 2).flatten(2)

    @property
    def free_depth(self) -> torch.Tensor:
        """Depth beyond the robot's own sides by column, clockwise [m]: 0 is contact; shape [E, 4 W, H]."""
        self._see()
        return self._free

    @property
    def surface_velocity(self) -> torch.Tensor:
        """Velocity of what each column's nearest pixel hits, in the base's frame [m/s], shape [E, 4 W, 2]."""
        self._see()
        return self._surface_velocity

    def nearest_movers(self, count: int) -> torch.Tensor:
        """The nearest movers in the base's frame, zeros where there are fewer.

        Returns:
            For each of them place / 3 m (2), clipped to [-2, 2], velocity [m/s] (2) and radius [m]; shape [E, 5 count].
        """
        self._sense()
        envs = len(self.time)
        if not self.has_movers:
            return torch.zeros(envs, 5 * count, device=self.device)
        offset = self.geom_position[..., :2] - self.position[:, None, :2]
        moves = self.scene.speed > 0.0
        index = torch.where(moves, offset.norm(dim=-1), torch.inf).topk(count, dim=1, largest=False).indices
        pick = index[..., None].expand(-1, -1, 2)
        place = (self.to_base(offset.gather(1, pick)) / 3.0).clamp(-2.0, 2.0)
        speed = self.to_base(self.geom_velocity[..., :2].gather(1, pick))
        radius = self.scene.size[..., :2].amax(-1).gather(1, index)[..., None]
        return (torch.cat([place, speed, radius], -1) * moves.gather(1, index)[..., None]).flatten(1)


def _way_field(scene: SceneBatch) -> DistanceField:
    """A field for E worlds with room for any layout of theirs: grids differ by a cell with the start's place."""
    field = geodesic(scene, _WAY_RADIUS, _WAY_CELL)
    value = torch.nn.functional.pad(field.value, (0, 2, 0, 2), value=torch.inf)
    grid = Grid(field.grid.origin, field.grid.start, field.grid.cell, tuple(value.shape[1:]))
    return DistanceField(grid, value)


def _yaw(orientation: torch.Tensor) -> torch.Tensor:
    """Yaw [rad], shape [E], of quaternions (x, y, z, w), shape [E, 4]."""
    x, y, z, w = orientation.unbind(-1)
    return torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
