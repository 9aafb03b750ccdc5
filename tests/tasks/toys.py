"""Drives the scene of docs/rig_sensor.py for test_rig_sensor.py; prints what it found as JSON.

Words: the physics, newton or ovphysx, and then other targets for the sensor.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import torch
from isaaclab.app import launch_simulation
from isaaclab.scene import InteractiveScene
from isaaclab.sim import SimulationContext
from isaaclab_ov.physics import OvPhysxCfg

from mmnav.rig import LABELS, random_day
from mmnav_tasks.physics.bodies import allow_no_driver

DOCS = Path(__file__).parents[2] / "docs" / "rig_sensor.py"


def toys():
    spec = importlib.util.spec_from_file_location("rig_sensor_docs", DOCS)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    cfg = toys().ToysCfg()
    cfg.scene.rig.look = random_day
    physics, *targets = sys.argv[1:]
    if targets:
        cfg.scene.rig.targets = targets
    if physics == "ovphysx":
        allow_no_driver()
        cfg.sim.physics = OvPhysxCfg()
    with launch_simulation(cfg, argparse.Namespace(device="cpu", visualizer=None, physics=None)):
        sim = SimulationContext(cfg.sim)
        scene = InteractiveScene(cfg.scene)
        sim.reset()
        rows = []
        for _ in range(3):
            for _ in range(15):
                sim.step()
                scene.update(sim.get_physics_dt())
            data, ball = scene["rig"].data, scene["ball"].data.root_link_pose_w.torch[:, :3]
            output = {name: value.torch.unflatten(0, (2, 4)) for name, value in data.output.items()}
            depth, label = output["distance_to_camera"][:, 0, ..., 0], output["semantic_segmentation"][:, 0, ..., 0]
            seen = [float(d[n == LABELS.index("sphere")].min()) for d, n in zip(depth, label, strict=True)]
            away = (ball - data.pos_w.torch.view(2, 4, 3)[:, 0]).norm(dim=-1) - 0.25
            rows.append({"seen": seen, "away": away.tolist()})
        before = data.output["rgb"].torch.unflatten(0, (2, 4)).clone()
        scene["rig"].reset([1])
        after = scene["rig"].data.output["rgb"].torch.unflatten(0, (2, 4))
        change = (before.float() - after.float()).abs().mean(dim=(1, 2, 3, 4))
        found = {
            "balls": rows,
            "shapes": {name: list(value.shape) for name, value in data.output.items()},
            "classes": sorted(LABELS[i] for i in label.unique().tolist()),
            "headings": data.quat_w_world.torch.view(2, 4, 4)[:, :, 2].abs().tolist(),
            "intrinsics": data.intrinsic_matrices.torch[0].tolist(),
            "change": change.tolist(),
            "finite": bool(torch.isfinite(depth).all()),
        }
        print("FOUND " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
