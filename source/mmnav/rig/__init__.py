"""What the robots' cameras see: rigs of fisheye and pinhole cameras, and their depth images."""

from ..camera import DEPTH_RIG, FISHEYE_RIG, CameraCfg, JitterCfg, LensCfg, RigCfg, depth_rig, fisheye_rig
from .look import LookCfg, plain_day, random_day
from .panorama import Panorama
from .renderer import GROUND, LABELS, NOTHING, Images, Rig

__all__ = [
    "DEPTH_RIG",
    "FISHEYE_RIG",
    "GROUND",
    "LABELS",
    "NOTHING",
    "CameraCfg",
    "Images",
    "JitterCfg",
    "LensCfg",
    "LookCfg",
    "Panorama",
    "Rig",
    "RigCfg",
    "depth_rig",
    "fisheye_rig",
    "plain_day",
    "random_day",
]
