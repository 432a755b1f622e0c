"""Before any test imports torch: threads that wait asleep, as on the command line (insight/cli says why)."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
