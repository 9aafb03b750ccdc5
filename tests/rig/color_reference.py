"""Colour in float64, in the world's frame and without any culling: the twin of rig_shade.h."""

from __future__ import annotations

import numpy as np
import rig_reference
from scipy.spatial.transform import Rotation

from mmnav.camera import lens_bank, sample_rays
from mmnav.rig import GROUND, NOTHING, RigCfg
from mmnav.rig.jitter import place_cameras
from mmnav.rig.look import Look
from mmnav.scenes.batch import Kind, SceneBatch

_U32 = np.uint64(0xFFFFFFFF)


def _times(h: np.ndarray, c: int) -> np.ndarray:
    return (h * np.uint64(c)) & _U32


def scramble(h: np.ndarray) -> np.ndarray:
    h = _times(h ^ (h >> np.uint64(16)), 0x7FEB352D)
    h = _times(h ^ (h >> np.uint64(15)), 0x846CA68B)
    return h ^ (h >> np.uint64(16))


def _random_at(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    bits = lambda a: a.astype(np.int64).astype(np.uint64) & _U32  # noqa: E731
    right = (_times(bits(y), 0x85EBCA77) + np.uint64((int(seed) * 0xC2B2AE3D) & 0xFFFFFFFF)) & _U32
    return (scramble(_times(bits(x), 0x9E3779B1) ^ right) >> np.uint64(8)).astype(float) / 2.0**24


def _value_noise(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    ix, iy = np.floor(x), np.floor(y)
    ease = lambda t: t * t * (3.0 - 2.0 * t)  # noqa: E731
    u, v = ease(x - ix), ease(y - iy)
    corner = {(i, j): _random_at(ix + i, iy + j, seed) for i in (0, 1) for j in (0, 1)}
    low, high = (corner[0, j] * (1 - u) + corner[1, j] * u for j in (0, 1))
    return low * (1 - v) + high * v


def texture(family: int, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    name = ("plain", "checker", "stripes", "noise", "bricks", "wood")[family]
    if name == "checker":
        return (np.floor(x) + np.floor(y)) % 2
    if name == "stripes":
        return np.floor(x) % 2
    if name == "noise":
        return 0.65 * _value_noise(2 * x, 2 * y, seed) + 0.35 * _value_noise(6 * x, 6 * y, seed)
    if name == "bricks":
        course = np.floor(2 * y)
        shifted = x + 0.5 * (course % 2)
        mortar = (shifted % 1 < 0.06) | (2 * y % 1 < 0.12)
        return np.where(mortar, 1.0, 0.45 * _random_at(np.floor(shifted), course, seed))
    if name == "wood":
        wave = np.abs(2 * ((3 * x + 1.5 * _value_noise(1.5 * x, 0.4 * y, seed)) % 1) - 1)
        return 0.8 * wave * wave * (3 - 2 * wave) + 0.2 * _value_noise(24 * x, 2 * y, seed)
    return np.zeros_like(x)


def normal(kind: int, h: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Outward normals at points p [N, 3] of a solid's surface."""
    if kind == Kind.BOX:
        axis = (np.abs(p) - h).argmax(-1)
        return np.eye(3)[axis] * np.where(np.take_along_axis(p, axis[:, None], -1) < 0, -1.0, 1.0)
    if kind in (Kind.SPHERE, Kind.CAPSULE):
        q = p.copy()
        if kind == Kind.CAPSULE:
            q[:, 2] -= np.clip(p[:, 2], h[0] - h[2], h[2] - h[0])
        return q / np.linalg.norm(q, axis=-1, keepdims=True)
    across = np.hypot(p[:, 0], p[:, 1])
    out = np.stack([p[:, 0] / across, p[:, 1] / across, np.zeros_like(across)], -1)
    if kind == Kind.CYLINDER:
        cap = np.abs(p[:, 2]) - h[2] > across - h[0]
        return np.where(cap[:, None], np.sign(p[:, 2:]) * [0.0, 0.0, 1.0], out)
    slope = h[0] / (2 * h[2])
    side = (out + [0.0, 0.0, slope]) / np.hypot(1.0, slope)
    base = -p[:, 2] - h[2] > (across - slope * (h[2] - p[:, 2])) / np.hypot(1.0, slope)
    return np.where(base[:, None], [0.0, 0.0, -1.0], side)


def _world(record: np.ndarray) -> dict:
    """The fields of one Look record."""
    names = ("sun", "sunlight", "ambient", "horizon", "zenith", "ground", "ground_delta", "gain")
    world = {name: record[3 * i : 3 * i + 3].astype(float) for i, name in enumerate(names)}
    world |= dict(zip(("fog", "glow", "ground_scale", "noise"), record[24:28].astype(float), strict=True))
    world["ground_texture"], world["seed"] = record[28:30].view(np.int32)
    return world


def _sky(world: dict, d: np.ndarray) -> np.ndarray:
    height = np.clip(1.6 * d[:, 2:] + 0.08, 0.0, 1.0)
    glow = np.maximum(d @ world["sun"], 0.0)[:, None] ** 32
    return world["horizon"] * (1 - height) + world["zenith"] * height + world["glow"] * glow * world["sunlight"]


def _shade(world: dict, paints: np.ndarray, env: dict, o, d, depth, index, shadows: bool) -> np.ndarray:
    """Linear colour [N, 3] of world rays."""
    count = len(d)
    p = o + depth[:, None] * d
    n = np.tile([0.0, 0.0, 1.0], (count, 1))
    albedo, gloss = np.zeros((count, 3)), np.zeros(count)
    on = index == GROUND
    share = texture(world["ground_texture"], *(p[on, :2] * world["ground_scale"]).T, world["seed"])
    albedo[on] = world["ground"] + share[:, None] * world["ground_delta"]
    for k in np.unique(index[index >= 0]):
        on, turn = index == k, Rotation.from_quat(env["orientation"][k])
        local = turn.inv().apply(p[on] - env["position"][k])
        face = normal(env["kind"][k], env["size"][k], local)
        x, y, z = np.abs(face).T
        level, side = (z > x) & (z > y), x > y
        u = np.where(level, local[:, 0], np.where(side, local[:, 1], local[:, 0]))
        v = np.where(level, local[:, 1], local[:, 2])
        family, seed = paints[k, 8:10].view(np.int32)
        share = texture(family, u * float(paints[k, 6]), v * float(paints[k, 6]), seed)
        n[on], gloss[on] = turn.apply(face), paints[k, 7]
        albedo[on] = paints[k, :3] + share[:, None] * paints[k, 3:6]
    sunny = np.maximum(n @ world["sun"], 0.0)
    if shadows:
        for k, kind in enumerate(env["kind"]):
            if kind == Kind.NONE:
                continue
            asked = (sunny > 0) & (index != k) & (index != NOTHING)
            turn = Rotation.from_quat(env["orientation"][k])
            local = turn.inv().apply(p[asked] - env["position"][k])
            sun = turn.inv().apply(world["sun"])
            sunny[np.flatnonzero(asked)[rig_reference.meets(kind, local, sun, env["size"][k])]] = 0.0
    light = sunny[:, None] * world["sunlight"] + (0.75 + 0.25 * n[:, 2:]) * world["ambient"]
    color = albedo * light
    facing = (d * n).sum(-1)
    mirrored = d - 2 * facing[:, None] * n
    floor = (world["ground"] + 0.5 * world["ground_delta"]) * (world["ambient"] + 0.5 * world["sunlight"])
    image = np.where(mirrored[:, 2:] > 0, _sky(world, mirrored), floor)
    mirror = (gloss * (0.35 + 0.65 * np.clip(1 - np.abs(facing), 0, 1) ** 3))[:, None]
    color = color * (1 - mirror) + image * mirror
    clear = (np.maximum(1 - depth * world["fog"] / 8, 0.0) ** 8)[:, None]
    color = world["horizon"] * (1 - clear) + color * clear
    return np.where((index == NOTHING)[:, None], _sky(world, d), color)


def render(
    cfg: RigCfg, scene: SceneBatch, position: np.ndarray, orientation: np.ndarray, look: Look, shadows: bool = True
) -> np.ndarray:
    """Colour in [0, 255] before rounding and without noise, shape [E, C, 3, H, W]."""
    fields = {n: getattr(scene, n).double().numpy() for n in ("kind", "position", "orientation", "size")}
    mounts, lenses = place_cameras(cfg, scene.seed.numpy())
    table = sample_rays(cfg)
    assert len(table) == len(lens_bank(cfg))
    rgb = np.zeros((scene.env_count, len(cfg.cameras), 3, cfg.height, cfg.width))
    with np.errstate(all="ignore"):
        for e in range(scene.env_count):
            env = {name: value[e] for name, value in fields.items()}
            env["kind"] = env["kind"].astype(int)
            world, paints = _world(look.worlds[e].numpy()), look.paints[e].numpy()
            body = Rotation.from_quat(orientation[e])
            for c in range(len(cfg.cameras)):
                o, linear = position[e] + body.apply(mounts[e, c, 9:]), 0.0
                for rays in table[lenses[e, c]]:
                    d = body.apply(rays.reshape(-1, 3) @ mounts[e, c, :9].reshape(3, 3).T)
                    depth, index = rig_reference.cast(d, o, env, cfg)
                    linear = linear + _shade(world, paints, env, o, d, depth, index, shadows) / cfg.samples
                level = np.sqrt(np.clip(linear * world["gain"], 0.0, 1.0)) * 255.0
                rgb[e, c] = level.T.reshape(3, cfg.height, cfg.width)
    return rgb
