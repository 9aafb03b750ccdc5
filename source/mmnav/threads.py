"""Threads: all cores of a CPU for Warp, whose launches keep to one core but release the GIL."""

from __future__ import annotations

import threading
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
        self._keep_to_themselves()

    def _keep_to_themselves(self) -> None:
        """Has torch use one thread in each of ours.

        Each would else get a team of OpenMP's own. With more of those than cores, OpenMP's threads sleep instead of
        waiting, in the whole process and for good: a training step of a small model then takes twice as long.
        """
        if self._pool is None:
            return
        usual, started = torch.get_num_threads(), threading.Barrier(self.count)

        def begin() -> None:
            torch.get_num_threads()  # a thread's first question sets its number, which must not come later
            torch.set_num_threads(1)
            started.wait()

        beginnings = [self._pool.submit(begin) for _ in range(self.count - 1)]
        started.wait()
        for beginning in beginnings:
            beginning.result()
        torch.set_num_threads(usual)  # what threads of others begin with

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
