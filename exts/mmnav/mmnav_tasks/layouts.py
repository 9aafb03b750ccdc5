"""Which layout an env gets at its next reset."""

from __future__ import annotations

import numpy as np
import torch

from mmnav.scenes import BlendCfg, SceneBatch, generate
from mmnav.scenes.blend import slot_count

LAYOUT_SEEDS = 10**9
"""A training run of seed s draws its layouts from seed s times this on; evaluation uses negative ones."""


class LayoutStream:
    """An endless, repeatable stream of fresh layouts, made in chunks ahead of time.

    The n-th layout has the seed ``first_seed + n``; its difficulty is the one in force when its chunk is made, and a
    change of :attr:`difficulty` throws away what was made ahead.
    """

    is_endless = True

    def __init__(self, cfg: object, first_seed: int, chunk: int = 256, difficulty: float = 1.0):
        """Starts the stream.

        Args:
            cfg: Scene family, one of :data:`mmnav.scenes.SCENES`.
            first_seed: Seed of the first layout.
            chunk: Layouts made at a time.
            difficulty: Difficulty in [0, 1].
        """
        self.cfg, self.chunk = cfg, chunk
        self._next_seed = first_seed
        self._difficulty = difficulty
        self._ahead: SceneBatch | None = None
        self._used = 0

    @property
    def next_seed(self) -> int:
        """Seed of the next layout; setting it goes on from there."""
        return self._next_seed

    @next_seed.setter
    def next_seed(self, value: int) -> None:
        self._next_seed, self._ahead = value, None

    @property
    def difficulty(self) -> float:
        """Difficulty of the layouts to come, in [0, 1]."""
        return self._difficulty

    @difficulty.setter
    def difficulty(self, value: float) -> None:
        if value != self._difficulty:
            self._difficulty, self._ahead = value, None

    def take(self, env_ids: torch.Tensor) -> SceneBatch:
        """The next layouts for the given envs, on the CPU."""
        parts, missing = [], len(env_ids)
        while missing:
            if self._ahead is None or self._used == self._ahead.env_count:
                count = max(self.chunk, min(missing, 4096))
                self._ahead = generate(self.cfg, self._next_seed + np.arange(count), self._difficulty)
                self._used = 0
            count = min(missing, self._ahead.env_count - self._used)
            parts.append(self._ahead[self._used : self._used + count])
            self._used += count
            self._next_seed += count
            missing -= count
        return parts[0] if len(parts) == 1 else SceneBatch.cat(parts)


class BlendedStreams:
    """A stream of fresh layouts for every family of a blend; every env keeps to its family."""

    is_endless = True

    def __init__(self, cfg: BlendCfg, first_seed: int, family: torch.Tensor, difficulty: float = 1.0):
        """Starts the streams.

        Args:
            cfg: The families.
            first_seed: The families' own seed of their first layouts.
            family: Index of each env's family, shape [E]; may be changed for the resets to come.
            difficulty: Difficulty in [0, 1].
        """
        self.cfg, self.difficulty, self.family = cfg, difficulty, family
        self._slots = slot_count(cfg)
        self._streams = [LayoutStream(inner, first_seed, difficulty=difficulty) for inner in cfg.families]

    @property
    def next_seed(self) -> int:
        """A seed that no family has reached yet; setting it goes on from there in all of them."""
        return max(stream.next_seed for stream in self._streams)

    @next_seed.setter
    def next_seed(self, value: int) -> None:
        for stream in self._streams:
            stream.next_seed = value

    def take(self, env_ids: torch.Tensor) -> SceneBatch:
        """The next layouts for the given envs, on the CPU, each of its env's family."""
        family = self.family[env_ids.cpu()]
        parts, rows = [], []
        for index, stream in enumerate(self._streams):
            mine = (family == index).nonzero().flatten()
            if len(mine):
                parts.append(stream.take(mine).padded(self._slots))
                rows.append(mine)
        return SceneBatch.cat(parts)[torch.cat(rows).argsort()]


class LayoutList:
    """A fixed layout for every env, the same one at every reset: what evaluation and PhysX's static bodies need."""

    is_endless = False

    def __init__(self, cfg: object, seeds: np.ndarray, difficulty: float = 1.0):
        """Makes the layouts.

        Args:
            cfg: Scene family, one of :data:`mmnav.scenes.SCENES`.
            seeds: Seeds of the envs' layouts, shape [E].
            difficulty: Difficulty in [0, 1].
        """
        self.cfg, self.difficulty = cfg, difficulty
        self.scenes = generate(cfg, seeds, difficulty)
        self.family = torch.from_numpy(cfg.family(seeds)) if isinstance(cfg, BlendCfg) else None
        """Index of each env's family in a blend, shape [E]; None if there is one family only."""

    def take(self, env_ids: torch.Tensor) -> SceneBatch:
        """The layouts of the given envs, on the CPU."""
        return self.scenes[env_ids.cpu()]
