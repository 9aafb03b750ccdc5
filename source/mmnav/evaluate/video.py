"""Videos of episodes: the map with the robot's trail beside what its depth views see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from ..scenes import SceneBatch
from ..scenes.picture import draw_robot, draw_scene

VIEWS = ("front", "right", "back", "left")


@dataclass
class Recording:
    """What happened in one episode, step by step."""

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
    """Duration of a step [s]."""


def write_video(
    path: Path, recordings: list[Recording], max_depth: float, on_frame: Callable[[], None] | None = None
) -> None:
    """Writes the recordings one after the other as an MP4 in real time; the last frame of each stays for a second.

    Args:
        path: File to write.
        recordings: The episodes.
        max_depth: Depth that is drawn darkest [m].
        on_frame: Called after every frame of an episode.
    """
    fps = round(1.0 / recordings[0].step)
    with imageio.get_writer(path, fps=fps, codec="libx264", quality=8, macro_block_size=8) as writer:
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
        grid = figure.add_gridspec(len(VIEWS), 2, width_ratios=(2.6, 1.0))
        self._map = figure.add_subplot(grid[:, 0])
        patches = draw_scene(self._map, recording.scene, labels=False)
        self._map.set_title(recording.title)
        height, columns = recording.depth.shape[1:]
        self._images = []
        for i, view in enumerate(VIEWS):
            axes = figure.add_subplot(grid[i, 1])
            axes.set(xticks=[], yticks=[], ylabel=view)
            blank = np.full((height, columns // len(VIEWS)), max_depth)
            image = axes.imshow(blank, cmap="magma_r", vmin=0.0, vmax=max_depth, aspect="auto")
            self._images.append(image)
        speed = recording.scene.speed[0].cpu().numpy()
        self._movers = {k: (patch, patch.get_xy().copy()) for k, patch in patches.items() if speed[k] > 0.0}
        (self._trail,) = self._map.plot([], [], color="tab:orange", linewidth=1.6, zorder=5)
        self._robot = draw_robot(self._map, np.zeros(3))
        self._say = self._map.text(0.04, 0.04, "", transform=self._map.transAxes, fontsize=13, zorder=9)
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
        for image, view in zip(self._images, np.split(recording.depth[t], len(VIEWS), axis=1), strict=True):
            image.set_data(view)
        last = t == len(recording.pose) - 1
        self._say.set_text(f"{t * recording.step:.1f} s" + (f"   {recording.outcome}" if last else ""))
        for artist in sorted(self._moving, key=lambda a: a.get_zorder()):
            artist.axes.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()
