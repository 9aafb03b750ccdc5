"""Threads share out jobs, and leave the process's own threads as they were."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from mmnav.threads import Threads

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_job_is_done_once(count):
    done = []
    Threads(count).run(lambda i=i: done.append(i) for i in range(40))
    assert sorted(done) == list(range(40))


def test_what_a_job_raises_is_raised():
    def fail() -> None:
        raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        Threads(3).run([fail] * 5)


def test_torch_keeps_to_one_thread_in_each_of_ours_and_to_its_own_number_elsewhere():
    """Else every one of them gets a team of OpenMP's, with which the whole process becomes slow."""
    before, found = torch.get_num_threads(), {}

    def work() -> None:
        x = torch.ones(1000, 1000)
        (x + x).sum()  # large enough for torch to share it out
        found[threading.get_ident()] = torch.get_num_threads()
        time.sleep(0.02)

    threads = Threads(3)
    running = len(os.listdir("/proc/self/task"))
    threads.run([work] * 12)
    found.pop(threading.get_ident(), None)
    assert found and set(found.values()) == {1}
    assert len(os.listdir("/proc/self/task")) - running < torch.get_num_threads()
    assert torch.get_num_threads() == before
