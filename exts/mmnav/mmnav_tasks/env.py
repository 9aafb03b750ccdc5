"""NavigationEnv: Isaac Lab's manager-based env with a World in it."""

from __future__ import annotations

import numpy as np
from isaaclab.envs import ManagerBasedRLEnv

from .layouts import LayoutList, LayoutStream
from .physics import has_bodies
from .world import World

LAYOUT_SEEDS = 10**9
"""Training seed s draws its layouts from seed s times this on; evaluation counts from -1 downwards."""


class NavigationEnv(ManagerBasedRLEnv):
    """A point-goal navigation task; ``env.world`` holds the layouts and what the robots sense.

    Under ``kinematic`` every reset brings a fresh layout. Under PhysX shapes cannot be resized once physics runs, so
    every env keeps one layout for its life.
    """

    def __init__(self, cfg, render_mode: str | None = None, **kwargs):
        first = (cfg.seed or 0) * LAYOUT_SEEDS
        if has_bodies(cfg.sim.physics):
            from .physics.bodies import add_bodies, allow_unpinned_memory

            allow_unpinned_memory()
            if cfg.layouts is None:
                cfg.layouts = (first + np.arange(cfg.scene.num_envs)).tolist()
            add_bodies(cfg)
        self._first_layout = first
        super().__init__(cfg, render_mode, **kwargs)

    def load_managers(self) -> None:
        """Makes the world, which the terms of all managers read, then the managers."""
        if self.cfg.layouts is None:
            layouts = LayoutStream(self.cfg.layout, self._first_layout, difficulty=self.cfg.difficulty)
        else:
            layouts = LayoutList(self.cfg.layout, np.asarray(self.cfg.layouts), self.cfg.difficulty)
        self.world = World(self, layouts)
        super().load_managers()
