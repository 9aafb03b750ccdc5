"""Only worlds that are watched are rendered."""

from __future__ import annotations

import torch

from mmnav.rig import Rig, fisheye_rig, random_day


def test_other_worlds_keep_their_images_and_watched_ones_do_not_notice(worlds, poses, device):
    """Each env's images are those of a rig that watches all, of the last frame that it was watched in."""
    count = 40
    scene = worlds(count, 12, seed=3).to(device)
    all_seen, some_seen = (Rig(fisheye_rig(16, 16), scene, look=random_day()) for _ in range(2))
    kept = torch.zeros(count, 4, 3, 16, 16, dtype=torch.uint8, device=device)
    for frame, share in enumerate((1.0, 0.5, 0.1, 0.0)):
        draws = torch.rand(count, generator=torch.Generator().manual_seed(frame))
        watched = draws.to(device) < share
        pose = [part.to(device) for part in poses(count, seed=frame)]
        kept[watched] = all_seen.render(*pose, scene.position).rgb[watched]
        some_seen.watch(watched)
        assert torch.equal(some_seen.render(*pose, scene.position).rgb, kept)
    some_seen.watch(torch.ones_like(watched))
    both = [rig.render(*pose, scene.position) for rig in (all_seen, some_seen)]
    assert torch.equal(both[0].rgb, both[1].rgb) and torch.equal(both[0].depth, both[1].depth)
