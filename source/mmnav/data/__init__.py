"""Recorded episodes: what they hold, how they are kept safe on disk, and how they are seen again."""

from .demo import Demo
from .shards import ShardWriter, merge, read_demos, read_index, verify

__all__ = ["Demo", "Frames", "Replay", "ShardWriter", "merge", "read_demos", "read_index", "verify"]


def __getattr__(name: str):
    """Finds what renders when it is asked for: files alone need neither torch nor Warp."""
    if name in __all__:
        from . import replay

        return getattr(replay, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
