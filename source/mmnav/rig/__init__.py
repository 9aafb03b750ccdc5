"""What the robots' cameras see: rigs of fisheye and pinhole cameras, and their depth images."""

from .camera import DEPTH_RIG, FISHEYE_RIG, CameraCfg, LensCfg, RigCfg, depth_rig, fisheye_rig
from .renderer import GROUND, NOTHING, Rig

__all__ = [
    "DEPTH_RIG",
    "FISHEYE_RIG",
    "GROUND",
    "NOTHING",
    "CameraCfg",
    "LensCfg",
    "Rig",
    "RigCfg",
    "depth_rig",
    "fisheye_rig",
]
