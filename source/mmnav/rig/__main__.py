"""Draws what the rig sees at a layout's start: ``python -m mmnav.rig Reach --seed 3 --out rig.png``.

Several scene families give a gallery, one robot a row.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from ..errors import UserError, check_folder, choose, run_main  # noqa: E402
from ..robot import ROBOT  # noqa: E402
from ..scenes import SCENES, SceneBatch, generate  # noqa: E402
from . import Rig, RigCfg, fisheye_rig, random_day  # noqa: E402
from .picture import draw_gallery, draw_rig  # noqa: E402


def main() -> None:
    """Parses the command line, renders, draws, says where the picture is."""
    parser = argparse.ArgumentParser(prog="python -m mmnav.rig", description=__doc__)
    parser.add_argument("scenes", nargs="+", metavar="scene", help=f"scene families: {', '.join(SCENES)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the layout and of its looks")
    parser.add_argument("--difficulty", type=float, default=1.0, help="difficulty in [0, 1]")
    parser.add_argument("--size", type=int, default=256, help="width and height of each view [px]")
    parser.add_argument("--samples", type=int, default=4, help="rays a pixel: 1, 2 or 4")
    parser.add_argument("--out", type=Path, default=None, help="picture to write; rig_SCENE_SEED.png if not given")
    args = parser.parse_args()
    families = {name: choose("scene", name, SCENES)() for name in args.scenes}
    out = args.out or Path(f"rig_{'_'.join(args.scenes).lower()}_{args.seed}.png")
    check_folder("--out", out)
    if args.size < 1:
        raise UserError(f"--size must be at least 1, not {args.size}.")
    if not 0.0 <= args.difficulty <= 1.0:
        raise UserError(f"--difficulty must lie in [0, 1], not {args.difficulty}.")
    try:
        rig = replace(fisheye_rig(args.size, args.size), samples=args.samples)
    except ValueError as error:
        raise UserError(str(error)) from None
    seen = {name: look(rig, generate(cfg, np.array([args.seed]), args.difficulty)) for name, cfg in families.items()}
    if len(seen) == 1:
        ((name, images),) = seen.items()
        figure = draw_rig(rig, *images, f"{name}, seed {args.seed}: the rig at the start")
    else:
        figure = draw_gallery(rig, {name: rgb for name, (rgb, _) in seen.items()})
    figure.savefig(out, dpi=100)
    print(f"Wrote {out}.")


def look(rig: RigCfg, scene: SceneBatch) -> tuple[np.ndarray, np.ndarray]:
    """Colour [C, H, W, 3] and depth [C, H, W] (m) from the start of a single world."""
    pose = scene.start_poses(ROBOT.center_height)
    images = Rig(rig, scene, look=random_day()).render(*pose, scene.position)
    return images.rgb[0].permute(0, 2, 3, 1).numpy(), images.depth[0].numpy()


if __name__ == "__main__":
    run_main(main)
