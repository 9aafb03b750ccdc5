"""What worlds look like: sun, sky, fog, ground, exposure and paint, all drawn from each world's own seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch

from ..scenes.batch import SceneBatch
from ..scenes.draws import Draws
from .kernels import LOOK_FLOATS, PAINT_FLOATS

TEXTURES = ("plain", "checker", "stripes", "noise", "bricks", "wood")
"""Texture families; ``SceneBatch.texture`` holds their index."""

_WORLD_INTS, _PAINT_INTS = slice(28, 30), slice(8, 10)


@dataclass(frozen=True)
class LookCfg:
    """Ranges that looks are drawn from; a range of one value switches a randomisation off.

    Colours are linear RGB in [0, 1]; light is such that a white surface in full sun is about 1.
    """

    sun_elevation: tuple[float, float] = (math.radians(25.0), math.radians(75.0))
    """Height of the sun above the horizon [rad]."""
    sun_azimuth: tuple[float, float] = (-math.pi, math.pi)
    """Direction of the sun [rad], from x towards y."""
    sunlight: tuple[float, float] = (0.45, 0.9)
    """Irradiance of the sun."""
    warmth: tuple[float, float] = (0.75, 1.0)
    """Blue of the sunlight as a share of its red."""
    ambient: tuple[float, float] = (0.25, 0.45)
    """Irradiance of the sky on a level surface."""
    sky: tuple[float, float] = (0.35, 0.85)
    """Brightness of the sky's horizon."""
    blueness: tuple[float, float] = (0.1, 0.6)
    """How much darker than the horizon the zenith is in red; half of that in green."""
    glow: tuple[float, float] = (0.0, 0.6)
    """Brightness of the sky round the sun, in sunlights."""
    fog: tuple[float, float] = (0.0, 0.06)
    """Density of the fog [1/m]."""
    exposure: tuple[float, float] = (0.8, 1.25)
    """Gain of the cameras."""
    white_balance: tuple[float, float] = (0.94, 1.06)
    """Gain of each channel on top of that."""
    noise: tuple[float, float] = (0.0, 0.02)
    """Standard deviation of the sensor's noise, as a share of full scale."""
    ground: tuple[float, float] = (0.05, 0.6)
    """Brightness of the ground's two colours."""
    ground_tint: float = 0.15
    """How far a channel of the ground is from grey, at most, as a share."""
    ground_scale: tuple[float, float] = (0.4, 2.0)
    """Repetitions of the ground's texture [1/m]."""
    paint_contrast: tuple[float, float] = (0.25, 0.9)
    """How far the second colour of a primitive's texture is from the first: 0 equal, 1 unrelated."""
    paint_scale: tuple[float, float] = (1.0, 5.0)
    """Repetitions of a primitive's texture [1/m]."""
    shiny: float = 0.2
    """Share of primitives that mirror."""
    gloss: tuple[float, float] = (0.4, 0.9)
    """Strength of their mirror images."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: If one is not finite, runs backwards, or is negative where nothing can be.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = value if isinstance(value, tuple) else (0.0, value)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"LookCfg.{field.name} is {value}; it must be finite and not run backwards.")
            if low < 0.0 and field.name != "sun_azimuth":
                raise ValueError(f"LookCfg.{field.name} is {value}; it must not be negative.")
        for name in ("shiny", "ground_tint"):
            if getattr(self, name) > 1.0:
                raise ValueError(f"LookCfg.{name} is {getattr(self, name)}; it is a share, at most 1.")


def random_day() -> LookCfg:
    """Every world has a day of its own: what to train on."""
    return LookCfg()


def plain_day() -> LookCfg:
    """The same light in every world, no noise and no mirrors: for pictures and comparisons."""
    return LookCfg(
        sun_elevation=(0.9, 0.9),
        sunlight=(0.7, 0.7),
        warmth=(1.0, 1.0),
        ambient=(0.35, 0.35),
        glow=(0.3, 0.3),
        fog=(0.01, 0.01),
        exposure=(1.0, 1.0),
        white_balance=(1.0, 1.0),
        noise=(0.0, 0.0),
        shiny=0.0,
    )


@dataclass(frozen=True)
class Look:
    """The looks of E worlds of K primitives, packed as rig_shade.h reads them (integers by their bits)."""

    worlds: torch.Tensor
    """Shape [E, 32], float32."""
    paints: torch.Tensor
    """Shape [E, K, 12], float32."""


def draw_look(cfg: LookCfg, scene: SceneBatch) -> Look:
    """Draws looks: a world's depend on its seed, and on its primitives' colours and textures, alone.

    Args:
        cfg: Ranges.
        scene: E worlds.

    Returns:
        Their looks, on the CPU.
    """
    draws = Draws(scene.seed.cpu().numpy(), "look")
    one = lambda name, *shape: draws.uniform(*getattr(cfg, name), *shape)  # noqa: E731
    env_count, geom_count = scene.kind.shape
    worlds = np.zeros((env_count, LOOK_FLOATS), np.float32)
    elevation, azimuth = one("sun_elevation"), one("sun_azimuth")
    flat = np.cos(elevation)
    worlds[:, 0:3] = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], -1)
    blue = one("warmth")
    warm = np.stack([np.ones_like(blue), 0.5 + 0.5 * blue, blue], -1)
    worlds[:, 3:6] = one("sunlight")[:, None] * warm
    horizon = one("sky")[:, None] * (1.0 - 0.12 * draws.uniform(0.0, 1.0, 3))
    zenith = horizon * (1.0 - one("blueness")[:, None] * [1.0, 0.5, 0.0])
    tint = zenith / zenith.max(-1, keepdims=True)
    worlds[:, 6:9] = one("ambient")[:, None] * (0.5 + 0.5 * tint)
    worlds[:, 9:12], worlds[:, 12:15] = horizon, zenith
    ground = one("ground", 2)[..., None] * (1.0 + cfg.ground_tint * draws.uniform(-1.0, 1.0, 2, 3))
    worlds[:, 15:18], worlds[:, 18:21] = ground[:, 0], ground[:, 1] - ground[:, 0]
    worlds[:, 21:24] = one("exposure")[:, None] * one("white_balance", 3)
    worlds[:, 24], worlds[:, 25] = one("fog"), one("glow")
    worlds[:, 26], worlds[:, 27] = one("ground_scale"), one("noise")
    family, seed = draws.integers(0, len(TEXTURES)), draws.integers(0, 2**24)
    worlds.view(np.int32)[:, _WORLD_INTS] = np.stack([family, seed], -1)

    paints = np.zeros((env_count, geom_count, PAINT_FLOATS), np.float32)
    color = scene.color.cpu().numpy()
    shiny = draws.chance(cfg.shiny, geom_count)
    color = np.where(shiny[..., None], 0.35 * color, color)  # what mirrors is dark, or it would be washed out
    other = draws.uniform(0.03, 0.95, geom_count, 3)
    paints[..., 0:3], paints[..., 3:6] = color, one("paint_contrast", geom_count)[..., None] * (other - color)
    paints[..., 6] = one("paint_scale", geom_count)
    paints[..., 7] = np.where(shiny, one("gloss", geom_count), 0.0)
    seed = draws.integers(0, 2**24, geom_count)
    paints.view(np.int32)[..., _PAINT_INTS] = np.stack([scene.texture.cpu().numpy(), seed], -1)
    return Look(torch.from_numpy(worlds), torch.from_numpy(paints))
