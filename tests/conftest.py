"""What tests of several rooms share."""

from __future__ import annotations

import pytest
from processes import run_python


@pytest.fixture(scope="session")
def python():
    """Runs Python in a process of its own; see :func:`processes.run_python`."""
    return run_python
