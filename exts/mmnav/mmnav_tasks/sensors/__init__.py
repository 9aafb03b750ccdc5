"""Sensors for any Isaac Lab scene."""

from .rig_sensor import RigData, RigSensor
from .rig_sensor_cfg import RigSensorCfg

__all__ = ["RigData", "RigSensor", "RigSensorCfg"]
