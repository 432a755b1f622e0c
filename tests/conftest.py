"""What holds before any test: how threads wait, that an interruption is heard, that no test is timed, and how many
processes share the tests (`-n auto`, pytest-xdist)."""

import os
import signal

import pytest
from hypothesis import settings

# Before torch is imported: threads that wait asleep, as on the command line (insight/cli says why).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Processes side by side have a core each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts background jobs with SIGINT ignored; tests that interrupt a run need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine is no failure: examples of property tests may take as long as they need.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One for each core, as far as memory goes: each holds torch and a few models."""
    return min(8, os.cpu_count() or 1)
