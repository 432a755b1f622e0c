"""What holds before any test: how threads wait, and that an interruption is heard."""

import os
import signal

# Before torch is imported: threads that wait asleep, as on the command line (insight/cli says why).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A shell starts background jobs with SIGINT ignored; tests that interrupt a run need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
