"""What holds before any test: how threads wait, that an interruption is heard, and that no test is timed."""

import os
import signal

from hypothesis import settings

# Before torch is imported: threads that wait asleep, as on the command line (insight/cli says why).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A shell starts background jobs with SIGINT ignored; tests that interrupt a run need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine is no failure: examples of property tests may take as long as they need.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
