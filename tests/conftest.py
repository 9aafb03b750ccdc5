"""What tests of several rooms share."""

from __future__ import annotations

import os
import resource

os.environ["OMP_NUM_THREADS"] = "1"  # a worker for every core: threads of torch would only wait for each other

import pytest
from processes import run_python


@pytest.fixture(scope="session")
def python():
    """Runs Python in a process of its own; see :func:`processes.run_python`."""
    return run_python


@pytest.fixture
def small_disk():
    """Files cannot grow beyond a size [bytes]: a write that fails for real, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
