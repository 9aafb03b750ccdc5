"""NavigationEnv: Isaac Lab's manager-based env with a World in it."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from isaaclab import cloner
from isaaclab.envs import ManagerBasedRLEnv
from isaaclab.sim import use_stage

from mmnav.rig import fisheye_rig

from .layouts import LAYOUT_SEEDS, LayoutList, LayoutStream
from .physics import has_bodies
from .world import World


class NavigationEnv(ManagerBasedRLEnv):
    """A point-goal navigation task; ``env.world`` holds the layouts and what the robots sense.

    Under ``kinematic`` every reset brings a fresh layout. Under PhysX shapes cannot be resized once physics runs, so
    every env keeps one layout for its life.
    """

    def __init__(self, cfg, render_mode: str | None = None, **kwargs):
        if cfg.rgb_views is not None:
            cfg.observations.rgb = cfg.observations.RgbCfg()
            width, height = cfg.rgb_views
            rig = partial(fisheye_rig, across=cfg.rgb_field[0], down=cfg.rgb_field[1], samples=cfg.rgb_samples)
            cfg.observations.rgb.rgb.params |= {"rig": rig, "width": width, "height": height}
        first = (cfg.seed or 0) * LAYOUT_SEEDS
        self._bodies = None
        if cfg.layouts is not None:
            self._layouts = LayoutList(cfg.layout, np.asarray(cfg.layouts), cfg.difficulty)
        elif has_bodies(cfg.sim.physics):
            self._layouts = LayoutList(cfg.layout, first + np.arange(cfg.scene.num_envs), cfg.difficulty)
        else:
            self._layouts = LayoutStream(cfg.layout, first, difficulty=cfg.difficulty)
        if has_bodies(cfg.sim.physics):
            from .physics.bodies import prepare_for_bodies

            prepare_for_bodies(cfg)
        super().__init__(cfg, render_mode, **kwargs)

    def _init_sim(self) -> None:
        """Puts the bodies of the layouts on the stage before physics starts."""
        if has_bodies(self.cfg.sim.physics):
            from .physics.bodies import Bodies

            origins = torch.as_tensor(cloner.grid_transforms(self.cfg.scene.num_envs, self.cfg.scene.env_spacing)[0])
            with use_stage(self.sim.stage):
                self._bodies = Bodies(self.sim.stage, self._layouts.scenes, origins)
        super()._init_sim()

    def load_managers(self) -> None:
        """Makes the world, which the terms of all managers read, then the managers."""
        if self._bodies is not None:
            self._bodies.check()
        self.world = World(self, self._layouts, self._bodies)
        super().load_managers()
