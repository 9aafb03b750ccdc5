"""Random numbers that depend on a world's seed alone: not on the batch, the index in it, or the device."""

from __future__ import annotations

import numpy as np

from ..errors import UserError

SEEDS = 2**22
"""Seeds of runs lie below this: with a sample's number below 2**40 they fit into 63 bits."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def numbered_draws(numbers: np.ndarray, seed: int, stream: str) -> Draws:
    """Random numbers of a run's numbered samples: they depend on the run's seed and on a sample's number alone.

    Args:
        numbers: The samples' numbers, below 2**40, shape [E].
        seed: The run's.
        stream: Name of the purpose.

    Raises:
        UserError: If the seed is not below :data:`SEEDS`.
    """
    if not 0 <= seed < SEEDS:
        raise UserError(f"seed is {seed}; it must lie between 0 and {SEEDS - 1}.")
    return Draws(numbers + seed * 2**40, stream)


class Draws:
    """A SplitMix64 stream for each of E seeds, drawn from in lockstep.

    All methods return float64 or int64 arrays of shape [E, *shape].
    """

    def __init__(self, seeds: np.ndarray, stream: str):
        """Starts the streams.

        Args:
            seeds: Integer seeds, shape [E].
            stream: Name of the purpose; streams of different names are independent.
        """
        salt = np.uint64(int.from_bytes(stream.encode()[:8].ljust(8, b"\0"), "little"))
        with np.errstate(over="ignore"):
            self._state = _mix(np.asarray(seeds).astype(np.int64).view(np.uint64) * _GOLDEN + _mix(salt + _GOLDEN))
        self._drawn = 0

    def uniform(self, low: float | np.ndarray, high: float | np.ndarray, *shape: int) -> np.ndarray:
        """Uniform numbers in [low, high)."""
        count = int(np.prod(shape, dtype=int))
        index = np.arange(self._drawn + 1, self._drawn + count + 1, dtype=np.uint64)
        self._drawn += count
        with np.errstate(over="ignore"):
            bits = _mix(self._state[:, None] + index * _GOLDEN)
        unit = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return low + (high - low) * unit.reshape(len(self._state), *shape)

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Uniform integers in [low, high)."""
        return np.floor(self.uniform(low, high, *shape)).astype(np.int64)

    def chance(self, probability: float, *shape: int) -> np.ndarray:
        """Booleans that are true with the given probability."""
        return self.uniform(0.0, 1.0, *shape) < probability
