"""Import me before mmnav: a script then uses the packages of its own checkout, installed or not."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT / "source"), str(_ROOT / "exts" / "mmnav")]
