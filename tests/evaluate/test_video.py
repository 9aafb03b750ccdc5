"""Videos show every step, in depth or in colour, whatever the views look like."""

from __future__ import annotations

import imageio.v2 as imageio
import numpy as np
import pytest

from mmnav.evaluate.video import Recording, _Canvas, write_video
from mmnav.scenes import SCENES, generate

STEPS = 3
MAX_DEPTH = 6.0


def recording(rgb=None):
    scene = generate(SCENES["Avoid"](), np.array([3]))
    pose = np.repeat(scene.start.numpy(), STEPS, 0) + np.linspace(0.0, 1.0, STEPS)[:, None] * (1.0, 0.0, 0.0)
    geoms = np.repeat(scene.position.numpy(), STEPS, 0)
    depth = np.full((STEPS, 4, 4 * 8), 3.0)
    return Recording("a title", scene, pose, geoms, depth, "collision", 0.5, 0.5, 2.0, rgb)


def plain(count, height, width):
    """Views that are one colour each: red, green, blue, yellow; every step another brightness."""
    colors = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]])[:count]
    views = np.broadcast_to(colors[None, :, :, None, None], (STEPS, count, 3, height, width))
    return (views * np.linspace(1.0, 0.6, STEPS)[:, None, None, None, None]).astype(np.uint8)


def regions(frame, color):
    """Rows and columns of a frame's pixels of a colour."""
    return np.nonzero((np.abs(frame.astype(int) - color) < 3).all(-1))


def test_a_recording_without_colour_shows_depth():
    assert [view.shape for view in recording().views(1)] == [(4, 8)] * 4


def test_the_clock_shows_each_frame_s_time_and_the_last_one_how_long_the_episode_took():
    canvas = _Canvas(recording(), MAX_DEPTH)
    told = []
    for t in range(STEPS):
        canvas.frame(t)
        told.append(canvas._say.get_text())
    assert told == ["0.5 s", "1.0 s", "1.5 s   collision after 2.0 s"]


@pytest.mark.parametrize("shape", [(4, 32, 128), (4, 16, 16), (4, 64, 24), (1, 32, 128), (2, 8, 8)])
def test_every_colour_view_fills_a_place_wider_than_high_beside_the_map(shape):
    rgb = plain(*shape)
    frame = _Canvas(recording(rgb), MAX_DEPTH).frame(2)
    assert frame.shape == (720, 1280, 3)
    tops = []
    for view in range(shape[0]):
        rows, columns = regions(frame, rgb[2, view, :, 0, 0])
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert columns.min() > 800 and len(rows) > 0.95 * height * width
        assert 140 < height < width < 3 * height
        tops.append(rows.min())
    assert tops == sorted(tops)
    if shape[0] == 1:  # in the middle of the height
        assert abs((rows.min() + rows.max()) / 2 - 360) < 40


def test_colour_is_shown_instead_of_depth_step_by_step():
    rgb = plain(1, 8, 8)
    canvas = _Canvas(recording(rgb), MAX_DEPTH)
    for t in (0, 2, 1):
        frame = canvas.frame(t)
        assert len(regions(frame, rgb[t, 0, :, 0, 0])[0]) > 10_000
        other = rgb[(t + 1) % STEPS, 0, :, 0, 0]
        assert len(regions(frame, other)[0]) == 0


def test_depth_is_drawn_darker_the_farther_it_is():
    near = recording()
    far = recording()
    far.depth[:] = 5.9
    place = np.s_[20:700, 1000:1250]
    light, dark = (_Canvas(r, MAX_DEPTH).frame(0)[place].mean() for r in (near, far))
    assert dark < light - 50


def test_the_title_is_no_formula_and_a_long_one_stays_inside():
    shown = recording()
    shown.title = "$a_b$ " + "a long word " * 20
    frame = _Canvas(shown, MAX_DEPTH).frame(0)
    assert frame[:, :3].min() > 200  # nothing is cut off at the left edge
    shown.title = "costs $\\nothing$"
    _Canvas(shown, MAX_DEPTH).frame(0)


@pytest.mark.parametrize("rgb", [None, plain(4, 32, 128), plain(1, 32, 128)], ids=["depth", "four views", "one view"])
def test_a_video_holds_every_step_and_a_second_of_the_last(tmp_path, rgb):
    seen = []
    write_video(tmp_path / "a.mp4", [recording(rgb), recording()], MAX_DEPTH, lambda: seen.append(1))
    with imageio.get_reader(tmp_path / "a.mp4") as reader:
        frames = [frame for frame in reader]
        assert reader.get_meta_data()["fps"] == 2
    assert len(seen) == 2 * STEPS
    assert len(frames) == 2 * (STEPS + 2)
