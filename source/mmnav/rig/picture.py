"""Pictures of what a rig sees: its views side by side, a panorama stitched from them, and their depth."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np

from ..camera import RigCfg

_NAMES = {0: "F", -90: "R", 180: "B", -180: "B", 90: "L"}


def view_names(cfg: RigCfg) -> list[str]:
    """F, R, B, L by the cameras' headings, or the heading in degrees."""
    degrees = [round(math.degrees(camera.yaw)) for camera in cfg.cameras]
    return [_NAMES.get(d, f"{d} deg") for d in degrees]


def stitch(cfg: RigCfg, views: np.ndarray, width: int = 1440, fall: float = 0.9, rise: float = 0.6) -> np.ndarray:
    """An equirectangular panorama from the nominal cameras' views, the heading in its middle and left on the left.

    Every direction is taken from the camera that looks nearest to it; what lies near shows the cameras' different
    places as small steps at the seams.

    Args:
        cfg: The rig.
        views: Images, shape [C, H, W, ...].
        width: Columns of the panorama, 360 degrees.
        fall: How far it reaches below the horizon [rad].
        rise: How far it reaches above it [rad].

    Returns:
        The panorama, shape [rows, width, ...]; 0 where no camera looks.
    """
    step = 2.0 * math.pi / width
    azimuth = math.pi - (np.arange(width) + 0.5) * step
    elevation = rise - (np.arange(round((fall + rise) / step)) + 0.5) * step
    cos, sin = np.cos(elevation)[:, None], np.sin(elevation)[:, None]
    rays = np.stack(np.broadcast_arrays(cos * np.cos(azimuth), cos * np.sin(azimuth), sin), -1)
    panorama = np.zeros((*rays.shape[:2], *views.shape[3:]), views.dtype)
    best = np.full(rays.shape[:2], -np.inf)
    for camera, view in zip(cfg.cameras, views, strict=True):
        local = rays @ camera.rotation
        u, v = camera.lens.project(local)
        with np.errstate(invalid="ignore"):
            inside = (u >= 0) & (u < cfg.width) & (v >= 0) & (v < cfg.height) & (local[..., 0] > best)
        panorama[inside] = view[v[inside].astype(int), u[inside].astype(int)]
        best[inside] = local[..., 0][inside]
    return panorama


def draw_gallery(cfg: RigCfg, rows: dict[str, np.ndarray]) -> plt.Figure:
    """Draws the views of several robots, one robot a row.

    Args:
        cfg: The rig.
        rows: Images of each robot by its name, shapes [C, H, W, 3], uint8.
    """
    count = len(cfg.cameras)
    figure, grid = plt.subplots(
        len(rows), count, figsize=(3.0 * count, 3.1 * len(rows)), squeeze=False, layout="constrained"
    )
    for line, (name, rgb) in zip(grid, rows.items(), strict=True):
        for axes, view, image in zip(line, view_names(cfg), rgb, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_title(f"{name}, {view}")
            axes.set_axis_off()
    return figure


def draw_rig(cfg: RigCfg, rgb: np.ndarray, depth: np.ndarray, title: str) -> plt.Figure:
    """Draws one robot's views with their names, the stitched panorama, and depth.

    Args:
        cfg: The rig.
        rgb: Its images, shape [C, H, W, 3], uint8.
        depth: Their depth [m], shape [C, H, W].
        title: Heading of the picture.
    """
    count = len(cfg.cameras)
    figure = plt.figure(figsize=(3.2 * count, 8.6), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(3, count, height_ratios=[1.0, 0.78, 1.0])
    for i, name in enumerate(view_names(cfg)):
        axes = figure.add_subplot(grid[0, i])
        axes.imshow(rgb[i], interpolation="nearest")
        axes.set_title(name)
        axes.set_axis_off()
        axes = figure.add_subplot(grid[2, i])
        shown = axes.imshow(depth[i], cmap="magma_r", norm="log", vmin=0.2, vmax=cfg.max_range, interpolation="nearest")
        axes.set_title(f"{name}, depth")
        axes.set_axis_off()
    figure.colorbar(shown, ax=figure.axes[1::2], label="depth [m]", shrink=0.8)
    axes = figure.add_subplot(grid[1, :])
    axes.imshow(stitch(cfg, rgb), extent=(180, -180, -math.degrees(0.9), math.degrees(0.6)), interpolation="nearest")
    axes.set(title="stitched", xlabel="azimuth from the heading [deg]", ylabel="elevation [deg]")
    return figure
