"""Conservative depth: nothing thin slips between two rays, and nothing grows by more than is promised."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mmnav.camera import pixel_pitch
from mmnav.rig import DEPTH_RIG, Rig
from mmnav.scenes.batch import Kind

HEADINGS = np.radians(np.arange(360) + 0.13)


def _seen(scene, conservative: bool) -> torch.Tensor:
    """In how many pixels primitive 0 is seen from each heading of a robot at the origin, shape [360]."""
    rig = Rig(replace(DEPTH_RIG, conservative=conservative), scene, geom_ids=True)
    position = torch.tensor([[0.0, 0.0, 0.25]]).repeat(360, 1)
    orientation = torch.tensor(Rotation.from_euler("z", HEADINGS[:, None]).as_quat(), dtype=torch.float32)
    rig.render_depth(position, orientation, scene.position)
    return (rig.geom == 0).flatten(1).sum(1).cpu()


@pytest.mark.parametrize("distance", [1.0, 3.0, 5.9])
@pytest.mark.parametrize("kind", [Kind.CYLINDER, Kind.BOX, Kind.CAPSULE])
def test_a_thin_stick_is_seen_from_every_heading(kind, distance, device, scene_of):
    """A stick 3 cm thick and 1.6 m tall; plain rays 1.4 degrees apart miss it from some headings."""
    stick = (kind, (distance * 0.8, distance * 0.6, 0.8), (0.015, 0.015, 0.8))
    scene = scene_of(stick, env_count=360).to(device)
    assert (_seen(scene, conservative=True) > 0).all()
    if distance >= 3.0:
        assert (_seen(scene, conservative=False) == 0).sum() > 90


@pytest.mark.parametrize(
    ("kind", "size", "lies"),
    [
        (Kind.CYLINDER, (0.015, 0.015, 0.8), True),
        (Kind.BOX, (0.1, 0.8, 0.015), False),
        (Kind.CYLINDER, (0.4, 0.4, 0.015), False),
        (Kind.CONE, (0.4, 0.4, 0.015), False),
    ],
)
def test_what_is_flat_is_seen_from_every_heading(kind, size, lies, device, scene_of):
    """A bar, a shelf, a disc and a flat cone, 3 cm thick, 0.2 m above the ground, between two rows of rays."""
    turn = Rotation.from_euler("x", 90 if lies else 0, degrees=True).as_quat()
    scene = scene_of((kind, (3.0, 0.0, 0.2), size, turn), env_count=360).to(device)
    assert (_seen(scene, conservative=True) > 0).all()
    assert (_seen(scene, conservative=False) == 0).any()


def test_growth_is_bounded(device, scene_of, worlds, poses):
    """Seen broadside a thin plate is nearer by less than rho D; a thick one keeps its depth; none is ever farther."""
    rho = max(pixel_pitch(DEPTH_RIG.cameras[0].lens, DEPTH_RIG.width, DEPTH_RIG.height)) / 2.0 * 1.02
    for half, exact in ((0.01, False), (0.5, True)):
        plate = (Kind.BOX, (3.0 + half, 0.0, 1.0), (half, 2.0, 2.0))
        scene = scene_of(plate).to(device)
        pose = torch.tensor([[0.0, 0.0, 0.25]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
        plain = Rig(replace(DEPTH_RIG, conservative=False), scene).render_depth(*pose, scene.position)
        grown = Rig(DEPTH_RIG, scene).render_depth(*pose, scene.position)
        nearer = (plain - grown)[0, 0, 2, 15:17]  # the two middle columns look at it squarely
        assert (nearer == 0.0).all() if exact else ((nearer > 0.01) & (nearer < rho * 3.0)).all()
    scene, pose = worlds(64, 40, seed=2).to(device), poses(64, seed=2)
    plain = Rig(replace(DEPTH_RIG, conservative=False), scene).render_depth(*pose, scene.position)
    grown = Rig(DEPTH_RIG, scene).render_depth(*pose, scene.position)
    assert (grown <= plain * (1 + 1e-5)).all() and (grown < plain).any()
    assert ((grown == 0.0) == (plain == 0.0)).all()  # no camera is swallowed


def test_a_camera_close_by_stays_outside(device, scene_of):
    """A millimetre from a stick, a plate, a cone's side and a needle, the depth ahead is still above zero."""
    slope = math.atan2(0.3, 1.0)
    for geom, eye in (
        ((Kind.CYLINDER, (0.0, 0.0, 1.0), (0.015, 0.015, 1.0)), (-0.016, 0.0, 0.6)),
        ((Kind.BOX, (0.0, 0.0, 1.0), (0.005, 1.0, 1.0)), (-0.006, 0.3, 0.6)),
        ((Kind.CONE, (0.0, 0.0, 0.5), (0.3, 0.3, 0.5)), (-0.15 - 0.001 / math.cos(slope), 0.0, 0.5)),
        ((Kind.CONE, (0.0, 0.0, 0.5), (0.01, 0.01, 0.5)), (-0.006, 0.0, 0.5)),
    ):
        scene = scene_of(geom).to(device)
        position = torch.tensor([[eye[0], eye[1], eye[2] - 0.15]])
        depth = Rig(DEPTH_RIG, scene).render_depth(position, torch.tensor([[0.0, 0.0, 0.0, 1.0]]), scene.position)
        assert (depth > 0.0).all(), geom
