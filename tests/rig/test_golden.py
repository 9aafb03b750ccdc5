"""Images are as they were: a picture of each scene family, kept beside this file.

After a change that is meant to change them, look at ``python -m mmnav.rig`` and write them anew:
``python tests/rig/test_golden.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmnav.rig import Rig, fisheye_rig, random_day
from mmnav.scenes import SCENES, generate

GOLDEN = Path(__file__).with_name("golden.npz")
FAMILIES = ("Reach", "Squeeze", "Avoid", "Mixed")


def render(family: str, device: str = "cpu") -> dict[str, np.ndarray]:
    """Two layouts of a family from their starts."""
    scene = generate(SCENES[family](), np.array([3, 4])).to(device)
    images = Rig(fisheye_rig(32, 32), scene, look=random_day()).render(*scene.start_poses(0.25), scene.position)
    return {name: getattr(images, name).cpu().numpy() for name in ("rgb", "depth", "label")}


@pytest.mark.parametrize("family", FAMILIES)
def test_images_are_as_they_were(family, device):
    """Another compiler may round an edge the other way: one pixel in a thousand."""
    golden, found = np.load(GOLDEN), render(family, device)
    assert (found["label"] != golden[f"{family}_label"]).mean() < 1e-3
    depth = golden[f"{family}_depth"]
    assert (np.abs(found["depth"] - depth) > 1e-3 * depth).mean() < 1e-3
    assert (np.abs(found["rgb"].astype(int) - golden[f"{family}_rgb"]) > 2).mean() < 1e-3
    assert golden[f"{family}_rgb"].std() > 20


if __name__ == "__main__":
    images = {family: render(family) for family in FAMILIES}
    np.savez_compressed(GOLDEN, **{f"{f}_{name}": value for f in FAMILIES for name, value in images[f].items()})
    print(f"Wrote {GOLDEN}: {GOLDEN.stat().st_size / 1000:.0f} kB.")
