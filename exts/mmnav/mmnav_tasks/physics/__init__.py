"""Physics presets of every task: ``kinematic``, ``ovphysx`` and ``isaacsim_physx``."""

from __future__ import annotations

from isaaclab.physics import PhysicsCfg
from isaaclab.utils import configclass
from isaaclab_newton.physics import NewtonCfg
from isaaclab_ov.physics import OvPhysxCfg
from isaaclab_physx.physics import PhysxCfg
from isaaclab_tasks.utils import PresetCfg

from .kinematic import KinematicSolverCfg


@configclass
class PhysicsPresets(PresetCfg):
    """Back ends by the words that ``physics=`` and ``--physics`` take."""

    kinematic: NewtonCfg = NewtonCfg(solver_cfg=KinematicSolverCfg())
    """Commanded velocities are integrated and the clearance kernel decides collisions; the fastest."""
    ovphysx: OvPhysxCfg = OvPhysxCfg()
    """PhysX 5 without Kit, on a CPU or a GPU; obstacles are bodies and a contact sensor decides collisions as well."""
    isaacsim_physx: PhysxCfg = PhysxCfg()
    """PhysX in Isaac Sim, with its GUI."""
    default: NewtonCfg = NewtonCfg(solver_cfg=KinematicSolverCfg())


def has_bodies(physics: PhysicsCfg) -> bool:
    """Whether the back end wants the obstacles as bodies."""
    return isinstance(physics, (OvPhysxCfg, PhysxCfg))
