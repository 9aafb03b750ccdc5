"""Depth by brute force in float64: every ray against every face of every primitive, with no culling.

Written apart from rig_core.h: it lists a solid's surfaces and keeps the roots that lie on them, where the kernel
intersects spans of convex parts.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mmnav.camera import rays
from mmnav.rig import GROUND, NOTHING, RigCfg
from mmnav.scenes.batch import Kind, SceneBatch

_SLACK = 1e-9
_NUDGE = 1e-4


def _roots(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Roots of a t^2 + 2 b t + c, shape [2, N]; NaN where there are none."""
    root = np.sqrt(b * b - a * c)
    return np.stack([(-b - root) / a, (-b + root) / a])


def _faces(o: np.ndarray, d: np.ndarray, h: np.ndarray, axis: int) -> np.ndarray:
    return np.stack([(-h[axis] - o[axis]) / d[:, axis], (h[axis] - o[axis]) / d[:, axis]])


def _on(t: np.ndarray, o: np.ndarray, d: np.ndarray, test) -> np.ndarray:
    """Keeps the roots t [R, N] whose points pass the test."""
    return np.where(test(o + t[..., None] * d), t, np.inf)


def _tube(o: np.ndarray, d: np.ndarray, radius: float) -> np.ndarray:
    return _roots((d[:, :2] ** 2).sum(-1), (o[:2] * d[:, :2]).sum(-1), (o[:2] ** 2).sum() - radius**2)


def _surface_roots(kind: int, o: np.ndarray, d: np.ndarray, h: np.ndarray) -> list[np.ndarray]:
    r, z = h[0], h[2]
    if kind == Kind.BOX:
        others = [[1, 2], [0, 2], [0, 1]]
        return [
            _on(_faces(o, d, h, i), o, d, lambda p, j=others[i]: (np.abs(p[..., j]) <= h[j] + _SLACK).all(-1))
            for i in range(3)
        ]
    if kind == Kind.SPHERE:
        return [_roots(np.ones(len(d)), d @ o, o @ o - r * r)]
    if kind == Kind.CYLINDER:
        caps = _on(_faces(o, d, h, 2), o, d, lambda p: (p[..., :2] ** 2).sum(-1) <= r * r)
        return [_on(_tube(o, d, r), o, d, lambda p: np.abs(p[..., 2]) <= z), caps]
    if kind == Kind.CONE:
        k2, top = (r / (2 * z)) ** 2, o[2] - z
        sides = _roots(
            (d[:, :2] ** 2).sum(-1) - k2 * d[:, 2] ** 2,
            (o[:2] * d[:, :2]).sum(-1) - k2 * top * d[:, 2],
            np.full(len(d), (o[:2] ** 2).sum() - k2 * top * top),
        )
        base = _on(_faces(o, d, h, 2)[:1], o, d, lambda p: (p[..., :2] ** 2).sum(-1) <= r * r)
        return [_on(sides, o, d, lambda p: np.abs(p[..., 2]) <= z), base]
    s = z - r
    roots = [_on(_tube(o, d, r), o, d, lambda p: np.abs(p[..., 2]) <= s)]
    for side in (-1.0, 1.0):
        c = o - [0.0, 0.0, side * s]
        ball = _roots(np.ones(len(d)), d @ c, c @ c - r * r)
        roots.append(_on(ball, o, d, lambda p, side=side: side * p[..., 2] >= s))
    return roots


def inside(kind: int, p: np.ndarray, h: np.ndarray) -> bool:
    """Whether a point of the local frame is inside a solid of half extents h."""
    flat = np.hypot(p[0], p[1])
    if kind == Kind.BOX:
        return bool((np.abs(p) < h).all())
    if kind == Kind.SPHERE:
        return bool(np.linalg.norm(p) < h[0])
    if kind == Kind.CYLINDER:
        return bool(flat < h[0] and abs(p[2]) < h[2])
    if kind == Kind.CONE:
        return bool(abs(p[2]) < h[2] and flat < h[0] * (h[2] - p[2]) / (2 * h[2]))
    return bool(np.hypot(flat, max(abs(p[2]) - (h[2] - h[0]), 0.0)) < h[0])


def meets(kind: int, o: np.ndarray, d: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Whether rays from points o [N, 3] of the local frame along d [3] meet a solid, or start in it."""
    hit = np.zeros(len(o), bool)
    for i, point in enumerate(o):
        hit[i] = inside(kind, point, h) or any(
            (r > 0.0).any() and np.isfinite(r[r > 0.0]).any() for r in _surface_roots(kind, point, d[None], h)
        )
    return hit


def cast(d: np.ndarray, o: np.ndarray, env: dict, cfg: RigCfg) -> tuple[np.ndarray, np.ndarray]:
    """Depth and index of world rays d [N, 3] from o [3]."""
    depth, index = np.full(len(d), cfg.max_range), np.full(len(d), NOTHING)
    if cfg.ground:
        t = np.where(d[:, 2] < 0.0, -o[2] / d[:, 2], np.inf) if o[2] > 0.0 else np.zeros(len(d))
        index, depth = np.where(t < depth, GROUND, index), np.minimum(t, depth)
    for k, kind in enumerate(env["kind"]):
        if kind == Kind.NONE:
            continue
        turn, h = Rotation.from_quat(env["orientation"][k]), env["size"][k]
        local_o, local_d = turn.inv().apply(o - env["position"][k]), turn.inv().apply(d)
        if inside(kind, local_o, h):
            t = np.zeros(len(d))
        else:
            roots = np.concatenate(_surface_roots(kind, local_o, local_d, h))
            t = np.where(roots > 0.0, roots, np.inf).min(0)
        index, depth = np.where(t < depth, k, index), np.minimum(t, depth)
    return depth, index


def render(
    cfg: RigCfg, scene: SceneBatch, position: np.ndarray, orientation: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, index and an edge mask of all pixels, each [E, C, H, W].

    A pixel is at an edge if turning its ray by 1e-4 rad (far less than a pixel) to any of four sides meets another
    primitive, or changes the depth by more than one part in a hundred: there float32 may take the other side.
    """
    table = rays(cfg)
    shape = (scene.env_count, *table.shape[:3])
    depth, index, edge = np.zeros(shape), np.zeros(shape, int), np.zeros(shape, bool)
    fields = {n: getattr(scene, n).double().numpy() for n in ("kind", "position", "orientation", "size")}
    with np.errstate(all="ignore"):
        for e in range(scene.env_count):
            env = {name: value[e] for name, value in fields.items()}
            env["kind"] = env["kind"].astype(int)
            body = Rotation.from_quat(orientation[e])
            for c, camera in enumerate(cfg.cameras):
                o = position[e] + body.apply(camera.position)
                local = table[c].reshape(-1, 3)
                side = np.cross(local, np.where(np.abs(local[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]))
                side /= np.linalg.norm(side, axis=-1, keepdims=True)
                over = np.cross(local, side)
                bundle = [local] + [local + s * _NUDGE * a for a in (side, over) for s in (-1.0, 1.0)]
                bundle = [b / np.linalg.norm(b, axis=-1, keepdims=True) for b in bundle]
                world = body.apply(np.concatenate(bundle) @ camera.rotation.T)
                t, k = (a.reshape(5, *shape[2:]) for a in cast(world, o, env, cfg))
                depth[e, c], index[e, c] = t[0], k[0]
                edge[e, c] = ((k[1:] != k[0]) | (np.abs(t[1:] - t[0]) > 1e-2 * t[0])).any(0)
    return depth, index, edge
