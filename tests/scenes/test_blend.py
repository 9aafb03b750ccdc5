"""A blend's worlds are its families' own worlds."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from mmnav.scenes import SCENES, BlendCfg, MixedCfg, SqueezeCfg, as_record, from_record, generate
from mmnav.scenes.batch import Kind

pytestmark = pytest.mark.unit

PER_GEOM = ("kind", "position", "orientation", "size", "waypoints", "speed", "color", "texture")


def test_a_blended_seed_stands_for_a_familys_own_layout():
    cfg, own = BlendCfg(), np.array([7, -3, 10**12, -(10**12), 5])
    family = np.array([0, 1, 2, 1, 0])
    seeds = cfg.blend(family, own)
    assert np.array_equal(cfg.family(seeds), family)
    blended = generate(cfg, seeds, 0.7)
    for e, (index, seed) in enumerate(zip(family, own, strict=True)):
        alone = generate(cfg.families[index], np.array([seed]), 0.7)
        for f in fields(alone):
            value, expected = getattr(blended, f.name)[e : e + 1], getattr(alone, f.name)
            if f.name in PER_GEOM:
                value = value[:, : alone.geom_count]
            assert torch.equal(value, expected), (f.name, seed)
        assert (blended.kind[e, alone.geom_count :] == Kind.NONE).all()


def test_padding_adds_slots_that_are_not_there():
    scene = generate(SqueezeCfg(), np.arange(3))
    more = scene.padded(scene.geom_count + 5)
    assert more.geom_count == scene.geom_count + 5
    assert (more.kind[:, -5:] == Kind.NONE).all()
    assert torch.equal(more.orientation[:, -5:].norm(dim=-1), torch.ones(3, 5))
    assert torch.equal(more.position[:, :-5], scene.position)
    assert scene.padded(3) is scene


@pytest.mark.parametrize("name", SCENES)
def test_a_recorded_family_makes_the_same_layouts_again(name):
    import json

    cfg = from_record(json.loads(json.dumps(as_record(SCENES[name]()))))
    assert cfg == SCENES[name]()
    assert torch.equal(generate(cfg, np.arange(4)).position, generate(SCENES[name](), np.arange(4)).position)


def test_a_record_keeps_what_was_changed_and_refuses_what_it_does_not_know():
    changed = MixedCfg(clutter=(1, 2))
    assert from_record(as_record(changed)) == changed
    with pytest.raises(ValueError, match="unknown scene family 'Maze'"):
        from_record({"family": "Maze"})
    with pytest.raises(ValueError, match="no field 'colour'"):
        from_record({"family": "Reach", "colour": 3})
