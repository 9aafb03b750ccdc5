"""Pixels: JPEGs keep every view at its place and nearly every grey level; rendering again keeps the order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drives import drive

from mmnav.data import Frames, ShardWriter, read_demos
from mmnav.data.pixels import StoredPixels, decode_pixels, encode_pixels, record_again, render_episodes

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Steps of an episode as the fisheyes see them, shape [T, V, 3, H, W], uint8."""
    views = np.stack(list(render_episodes([drive("Reach", 5)], (64, 48))))
    return torch.from_numpy(views).permute(0, 1, 4, 2, 3)


def test_jpegs_keep_rendered_images_nearly_as_they_are(images):
    jpegs = [encode_pixels(step) for step in images]
    found = decode_pixels(jpegs, 4)
    assert found.shape == images.shape and found.dtype == torch.uint8
    error = (found.float() - images.float()).abs()
    assert error.mean() < 4.0 and error.mean((-1, -2, -3)).max() < 6.0
    assert max(map(len, jpegs)) < images[0].numel() / 4


@pytest.mark.parametrize("views", [1, 2, 4])
def test_every_view_comes_back_at_its_place(views):
    """Flat views, each of a colour that says step, view and channel."""
    step, view, channel = np.ix_(range(3), range(views), range(3))
    flat = torch.from_numpy(40 * step + 15 * view + 40 * channel).to(torch.uint8)
    images = flat[..., None, None].expand(3, views, 3, 32, 48)
    found = decode_pixels([encode_pixels(i) for i in images], views)
    assert found.shape == images.shape
    assert (found.int() - images.int()).abs().max() <= 3


def test_pixels_of_an_episode_go_through_a_file(images, tmp_path):
    demo = drive("Reach", 5)
    demo.pixels = [encode_pixels(step) for step in images]
    with ShardWriter(tmp_path, {"env_name": "Drives"}) as writer:
        writer.write(demo)
    (found,) = read_demos(tmp_path, pixels=True)
    assert found.pixels == demo.pixels


def test_what_is_no_image_is_named(images):
    good = encode_pixels(images[0])
    with pytest.raises(ValueError, match=r"rgb has shape \(4, 48, 64\)"):
        encode_pixels(images[0, :, 0])
    with pytest.raises(ValueError, match=r"torch.float32; it must be \[V, 3, H, W\] of uint8"):
        encode_pixels(images[0].float())
    with pytest.raises(ValueError, match="the JPEG of step 1 cannot be decoded"):
        decode_pixels([good, b"no JPEG"], 4)
    with pytest.raises(ValueError, match="the JPEG of step 0 is 256 px wide; it cannot hold 3 views"):
        decode_pixels([good], 3)
    with pytest.raises(ValueError, match="the JPEG of step 1 is"):
        decode_pixels([good, encode_pixels(images[0, :2])], 2)


def test_episodes_are_rendered_step_by_step_in_their_order():
    """Over batches that end within an episode, and however many are rendered together."""
    demos = [drive("Avoid", number, steps) for number, steps in ((1, 30), (2, 7), (3, 1))]
    together = list(render_episodes(demos, (16, 12), seed=4))
    assert len(together) == 38 and together[0].shape == (4, 12, 16, 3)
    first = list(render_episodes(demos[:1], (16, 12), seed=4))
    assert all(np.array_equal(a, b) for a, b in zip(first, together, strict=False))
    another = next(iter(render_episodes(demos[:1], (16, 12), seed=5)))
    assert np.abs(another.astype(int) - together[0]).mean() > 3


def test_a_recording_shows_the_robot_where_it_was():
    demo = drive("Avoid", 6, 9)
    recording = record_again(demo, "again", size=(16, 12))
    yaw = 2 * np.arctan2(demo.root_pose[:, 5], demo.root_pose[:, 6])
    assert np.allclose(recording.pose[:, :2], demo.root_pose[:, :2])
    assert np.allclose(np.exp(1j * recording.pose[:, 2]), np.exp(1j * yaw), atol=1e-5)
    assert recording.rgb.shape == (9, 4, 3, 12, 16) and recording.depth.shape == (9, 12, 64)
    assert recording.step == pytest.approx(0.1) and recording.outcome == "success"
    moved = np.linalg.norm(np.diff(recording.geom_position, axis=0), axis=-1).max(0)
    movers = recording.scene.speed[0].numpy() > 0
    assert movers.any() and (moved[movers] > 0.01).all() and (moved[~movers] == 0).all()


def test_stored_pixels_show_the_step_that_was_asked_for(images):
    """Whichever episode it is in, and only as many views as are wanted."""
    demos = [drive("Reach", 5), drive("Avoid", 6)]
    demos[0].pixels = [encode_pixels(step) for step in images]
    demos[1].pixels = [encode_pixels(255 - step) for step in images]
    frames, steps = Frames(demos), torch.tensor([len(images) + 2, 0, len(images) - 1])
    found = StoredPixels(2).view(frames, steps, looks=torch.zeros(3, dtype=torch.long))
    expected = torch.stack([255 - images[2], images[0], images[-1]])[:, :2]
    assert (found.float() - expected.float()).abs().mean((-1, -2, -3)).max() < 6.0


def test_episodes_without_pixels_cannot_be_shown_from_them(images):
    frames = Frames([drive("Reach", 5)])
    with pytest.raises(ValueError, match="pixels of 0 of"):
        StoredPixels(4).view(frames, torch.tensor([0]), torch.tensor([0]))
