"""Threads: all cores of a CPU for Warp, whose launches keep to one core but release the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

_MAX_THREADS = 16


class Threads:
    """Some threads, the caller's among them, that share out jobs."""

    def __init__(self, count: int | None = None):
        """Starts with ``count`` threads; None for as many as torch has (``OMP_NUM_THREADS``), at most 16."""
        self.count = count or min(torch.get_num_threads(), _MAX_THREADS)
        self._pool = ThreadPoolExecutor(self.count - 1, "mmnav") if self.count > 1 else None

    def run(self, jobs: Iterable[Callable[[], None]]) -> None:
        """Runs jobs that do not depend on each other and returns when all are done; raises what one of them raises."""
        queue = iter(jobs)  # threads draw from one iterator; drawing from a list's is atomic

        def work() -> None:
            for job in queue:
                job()

        helpers = [self._pool.submit(work) for _ in range(self.count - 1)]
        try:
            work()
        finally:
            for helper in helpers:
                helper.result()

    @staticmethod
    @cache
    def all() -> Threads:
        """The threads of this process for whoever needs no others."""
        return Threads()
