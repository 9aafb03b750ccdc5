"""Kinematic physics: a Newton solver that integrates commanded velocities and knows no forces and no contacts.

Isaac Lab's scene, assets and managers stay as they are; collisions are decided by :mod:`mmnav.scenes.clearance`. The
manager below overrides hooks of Isaac Lab 3.0.0 that begin with an underscore, so that version is pinned.
"""

from __future__ import annotations

import newton
import warp as wp
from isaaclab.utils import configclass
from isaaclab_newton.physics.newton_manager import NewtonManager
from isaaclab_newton.physics.newton_manager_cfg import NewtonSolverCfg

_FREE = wp.constant(int(newton.JointType.FREE))
_KINEMATIC = wp.constant(int(newton.BodyFlags.KINEMATIC))


@wp.kernel(enable_backward=False)
def _integrate(
    joint_type: wp.array(dtype=int),
    joint_child: wp.array(dtype=int),
    joint_q_start: wp.array(dtype=int),
    joint_qd_start: wp.array(dtype=int),
    body_flags: wp.array(dtype=wp.int32),
    dt: float,
    joint_q_out: wp.array(dtype=float),
    joint_qd_out: wp.array(dtype=float),
    body_q_out: wp.array(dtype=wp.transform),
    body_qd_out: wp.array(dtype=wp.spatial_vector),
):
    joint = wp.tid()
    body = joint_child[joint]
    if joint_type[joint] != _FREE or (body_flags[body] & _KINEMATIC) != 0:
        return
    q, qd = joint_q_start[joint], joint_qd_start[joint]
    linear = wp.vec3(joint_qd_out[qd], joint_qd_out[qd + 1], joint_qd_out[qd + 2])
    angular = wp.vec3(joint_qd_out[qd + 3], joint_qd_out[qd + 4], joint_qd_out[qd + 5])
    position = wp.vec3(joint_q_out[q], joint_q_out[q + 1], joint_q_out[q + 2]) + linear * dt
    rotation = wp.quat(joint_q_out[q + 3], joint_q_out[q + 4], joint_q_out[q + 5], joint_q_out[q + 6])
    angle = wp.length(angular) * dt
    if angle > 1.0e-8:
        rotation = wp.normalize(wp.quat_from_axis_angle(wp.normalize(angular), angle) * rotation)
    for i in range(3):
        joint_q_out[q + i] = position[i]
    for i in range(4):
        joint_q_out[q + 3 + i] = rotation[i]
    body_q_out[body] = wp.transform(position, rotation)
    body_qd_out[body] = wp.spatial_vector(linear, angular)


class SolverKinematic(newton.solvers.SolverBase):
    """Moves every free body by its velocity."""

    def step(self, state_in, state_out, control, contacts, dt):
        """Advances ``state_in`` in place by ``dt`` [s]."""
        model = self.model
        wp.launch(
            _integrate,
            dim=model.joint_count,
            inputs=[
                model.joint_type,
                model.joint_child,
                model.joint_q_start,
                model.joint_qd_start,
                model.body_flags,
                dt,
            ],
            outputs=[state_in.joint_q, state_in.joint_qd, state_in.body_q, state_in.body_qd],
            device=model.device,
        )

    def reset(self, *args, **kwargs):
        """Does nothing: there is no inner state."""

    def notify_model_changed(self, flags):
        """Does nothing: the model is read anew at every step."""

    def update_contacts(self, contacts, state=None):
        """Does nothing: there are no contacts."""


class NewtonKinematicManager(NewtonManager):
    """Runs :class:`SolverKinematic` in Isaac Lab's Newton back end, which it tells by the name's first word."""

    @classmethod
    def _create_solver(cls, model, solver_cfg):
        return SolverKinematic(model)

    @classmethod
    def _build_solver(cls, model, solver_cfg):
        NewtonManager._solver = cls._create_solver(model, solver_cfg)
        NewtonManager._use_single_state = True
        NewtonManager._needs_collision_pipeline = False
        NewtonManager._supports_rigid_body_force_input = False


@configclass
class KinematicSolverCfg(NewtonSolverCfg):
    """Selects :class:`SolverKinematic`: ``NewtonCfg(solver_cfg=KinematicSolverCfg())``."""

    class_type: type | str = "{DIR}.kinematic:NewtonKinematicManager"
    solver_type: str = "kinematic"
