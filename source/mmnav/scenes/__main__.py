"""Draws layouts: ``python -m mmnav.scenes Squeeze --seed 7 --out squeeze.png``."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from ..errors import UserError, check_folder, choose, run_main  # noqa: E402
from . import SCENES, generate  # noqa: E402
from .picture import draw_robot, draw_scene  # noqa: E402


def main() -> None:
    """Parses the command line, draws the layouts, says where they are."""
    parser = argparse.ArgumentParser(prog="python -m mmnav.scenes", description=__doc__)
    parser.add_argument("scene", nargs="+", help=f"scene families, a panel each: {', '.join(SCENES)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the layouts")
    parser.add_argument("--difficulty", type=float, default=1.0, help="difficulty in [0, 1]")
    parser.add_argument("--out", type=Path, default=None, help="picture to write; SCENE_SEED.png if not given")
    args = parser.parse_args()
    cfgs = [choose("scene", name, SCENES)() for name in args.scene]
    if not 0.0 <= args.difficulty <= 1.0:
        raise UserError(f"--difficulty must lie in [0, 1], not {args.difficulty}.")
    out = args.out or Path(f"{'_'.join(args.scene).lower()}_{args.seed}.png")
    check_folder("--out", out)
    columns = min(2, len(cfgs))
    rows = -(-len(cfgs) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(9 * columns, 7 * rows), layout="constrained", squeeze=False)
    for axes, name, cfg in zip(panels.flat, args.scene, cfgs, strict=False):
        scene = generate(cfg, np.array([args.seed]), args.difficulty)
        draw_scene(axes, scene)
        draw_robot(axes, scene.start[0].numpy())
        axes.set_title(f"{name}, seed {args.seed}, difficulty {args.difficulty:g} (gaps in cm, speeds in m/s)")
    for axes in list(panels.flat)[len(cfgs) :]:
        axes.remove()
    figure.savefig(out, dpi=120 if len(cfgs) == 1 else 70)
    print(f"Wrote {out}.")


if __name__ == "__main__":
    run_main(main)
