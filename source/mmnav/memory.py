"""Memory: freed pages are kept for the next training step."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def keep_freed_memory() -> None:
    """Has the C library keep large blocks that were freed, on Linux.

    By default every large tensor of every training step is mapped anew, and the kernel clears its pages again: over a
    fifth of the time of a small model on a CPU. The process then keeps its highest memory use until it ends.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = ctypes.CDLL(None).mallopt
    for what, bytes_ in ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 1 << 28)):
        mallopt(what, bytes_)
