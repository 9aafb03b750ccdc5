"""Where the movers are: position and velocity of every primitive as a function of time."""

from __future__ import annotations

import torch
import warp as wp

from .batch import SceneBatch


@wp.kernel(enable_backward=False)
def _advance(
    speed: wp.array2d(dtype=float),
    waypoints: wp.array3d(dtype=wp.vec3),
    time: wp.array(dtype=float),
    position_out: wp.array2d(dtype=wp.vec3),
    velocity_out: wp.array2d(dtype=wp.vec3),
):
    env, geom = wp.tid()
    v = speed[env, geom]
    if v <= 0.0:
        position_out[env, geom] = waypoints[env, geom, 0]
        velocity_out[env, geom] = wp.vec3(0.0, 0.0, 0.0)
        return
    count = waypoints.shape[2]
    position_out[env, geom] = waypoints[env, geom, 0]
    length = float(0.0)
    for i in range(count):
        length += wp.length(waypoints[env, geom, (i + 1) % count] - waypoints[env, geom, i])
    way = v * time[env]
    way = way - length * wp.floor(way / length)
    for i in range(count):
        a = waypoints[env, geom, i]
        leg = waypoints[env, geom, (i + 1) % count] - a
        leg_length = wp.length(leg)
        if leg_length > 0.0 and (way <= leg_length or i == count - 1):
            position_out[env, geom] = a + leg * wp.min(way / leg_length, 1.0)
            velocity_out[env, geom] = leg * (v / leg_length)
            return
        way -= leg_length


def advance(scene: SceneBatch, time: torch.Tensor, position_out: torch.Tensor, velocity_out: torch.Tensor) -> None:
    """Writes the centres and velocities of all primitives at the given times.

    Args:
        scene: E worlds of K primitives.
        time: Time since the start of each world's episode [s], shape [E].
        position_out: Centres [m], shape [E, K, 3].
        velocity_out: Velocities [m/s], shape [E, K, 3].
    """
    wp.init()
    wp.launch(
        _advance,
        dim=scene.kind.shape,
        inputs=[wp.from_torch(scene.speed), wp.from_torch(scene.waypoints, dtype=wp.vec3), wp.from_torch(time)],
        outputs=[wp.from_torch(position_out, dtype=wp.vec3), wp.from_torch(velocity_out, dtype=wp.vec3)],
        device=str(scene.device),
    )
