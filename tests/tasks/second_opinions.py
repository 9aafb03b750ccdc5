"""Depth of one frame by other renderers, for test_renderers.py; prints how far they are from ours as JSON."""

from __future__ import annotations

import json

import numpy as np

from mmnav_tasks.benchmark.renderers import DEPTH, embree, embree_packets, make_frame, newton, ours


def main() -> None:
    frame = make_frame(16, 64)
    mine = next(c for c in ours(frame) if c.output == DEPTH)
    mine.render()
    expected, found = mine.depth(), {}
    for name, make in (("newton", newton), ("embree", embree), ("packets", embree_packets)):
        try:
            peer = next((c for c in make(frame) if c.output == DEPTH), None)
        except ImportError:
            peer = None
        if peer is None:
            continue
        peer.render()
        error = np.abs(peer.depth() - expected)
        found[name] = {
            "pixels": error.size,
            "within_1_mm": float((error < 1e-3).mean()),
            "within_5_cm": float((error < 0.05).mean()),
        }
    print("FOUND " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
