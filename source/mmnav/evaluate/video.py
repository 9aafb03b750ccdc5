"""Videos of episodes: the map with the robot's trail beside what its views see."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from ..files import completing
from ..robot import VIEWS
from ..scenes import SceneBatch
from ..scenes.picture import draw_robot, draw_scene


@dataclass
class Recording:
    """What happened in one episode, frame by frame."""

    title: str
    """Said above the map."""
    scene: SceneBatch
    """The layout, a batch of one."""
    pose: np.ndarray
    """Poses of the robot (x, y, yaw) [m, m, rad], shape [T, 3]."""
    geom_position: np.ndarray
    """Centres of the primitives [m], shape [T, K, 3]."""
    depth: np.ndarray
    """Depth of the views F, R, B, L side by side [m], shape [T, H, 4 W]."""
    outcome: str
    """How it ended: success, collision or time_out."""
    step: float
    """Time from one frame to the next [s]."""
    begin: float
    """Time of the first frame [s], since the episode's start."""
    seconds: float
    """How long the episode took [s]; what came of its last step may be no frame any more."""
    rgb: np.ndarray | None = None
    """Colour views F, R, B, L, shape [T, V, 3, H, W], uint8; shown instead of the depth if given."""

    def views(self, t: int) -> list[np.ndarray]:
        """What the views show at step t: colour, shapes [H, W, 3], or the four depths [m], shapes [H, W]."""
        if self.rgb is not None:
            return list(self.rgb[t].transpose(0, 2, 3, 1))
        return np.split(self.depth[t], len(VIEWS), axis=1)


def write_video(
    path: Path, recordings: list[Recording], max_depth: float, on_frame: Callable[[], None] | None = None
) -> None:
    """Writes the recordings one after the other as an MP4 in real time; the last frame of each stays for a second.

    Args:
        path: File to write; it is complete or not there.
        recordings: The episodes.
        max_depth: Depth that is drawn darkest [m].
        on_frame: Called after every frame of an episode.
    """
    fps = round(1.0 / recordings[0].step)
    how = {"fps": fps, "codec": "libx264", "quality": 8, "macro_block_size": 8}
    with completing(path) as part, imageio.get_writer(part, **how) as writer:
        for recording in recordings:
            canvas = _Canvas(recording, max_depth)
            for t in range(len(recording.pose)):
                frame = canvas.frame(t)
                writer.append_data(frame)
                if on_frame is not None:
                    on_frame()
            for _ in range(fps):
                writer.append_data(frame)


class _Canvas:
    """The figure of one episode; what never moves is drawn once."""

    def __init__(self, recording: Recording, max_depth: float):
        self._recording = recording
        figure = Figure(figsize=(12.8, 7.2), dpi=100, layout="constrained")
        self._canvas = FigureCanvasAgg(figure)
        views = recording.views(0)
        rows = max(len(views), 3)  # a single view fills a third of the height, in the middle
        grid = figure.add_gridspec(rows, 2, width_ratios=(2.6, 1.0))
        self._map = figure.add_subplot(grid[:, 0])
        patches = draw_scene(self._map, recording.scene, labels=False)
        self._map.set_title("\n".join(textwrap.wrap(recording.title, 90)), parse_math=False)
        self._images = []
        for i, (name, view) in enumerate(zip(VIEWS, views, strict=False), (rows - len(views)) // 2):
            axes = figure.add_subplot(grid[i, 1])
            axes.set(xticks=[], yticks=[], ylabel=name)
            # pixels need not be square: each view is stretched to its place, about as wide as its field is
            look = (
                {"interpolation": "nearest"} if view.ndim == 3 else {"cmap": "magma_r", "vmin": 0.0, "vmax": max_depth}
            )
            self._images.append(axes.imshow(np.zeros_like(view), aspect="auto", **look))
        speed = recording.scene.speed[0].cpu().numpy()
        self._movers = {k: (patch, patch.get_xy().copy()) for k, patch in patches.items() if speed[k] > 0.0}
        (self._trail,) = self._map.plot([], [], color="tab:orange", linewidth=1.6, zorder=5)
        self._robot = draw_robot(self._map, np.zeros(3))
        self._say = self._map.text(0.04, 0.04, "", transform=self._map.transAxes, fontsize=13, zorder=9)
        self._say.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 3.0})
        self._moving = [*self._images, self._trail, *self._robot, self._say, *(p for p, _ in self._movers.values())]
        for artist in self._moving:
            artist.set_animated(True)
        self._canvas.draw()
        figure.set_layout_engine("none")
        self._still = self._canvas.copy_from_bbox(figure.bbox)

    def frame(self, t: int) -> np.ndarray:
        """Pixels at step t, shape [720, 1280, 3], uint8."""
        recording = self._recording
        x, y, yaw = recording.pose[t]
        self._canvas.restore_region(self._still)
        self._trail.set_data(recording.pose[: t + 1, 0], recording.pose[: t + 1, 1])
        for patch in self._robot:
            patch.set_transform(Affine2D().rotate(yaw).translate(x, y) + self._map.transData)
        first = recording.geom_position[0]
        for k, (patch, outline) in self._movers.items():
            patch.set_xy(outline + (recording.geom_position[t, k] - first[k])[:2])
        for image, view in zip(self._images, recording.views(t), strict=True):
            image.set_data(view)
        ended = f"   {recording.outcome} after {recording.seconds:.1f} s"
        self._say.set_text(f"{recording.begin + t * recording.step:.1f} s" + ended * (t == len(recording.pose) - 1))
        for artist in sorted(self._moving, key=lambda a: a.get_zorder()):
            artist.axes.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()
