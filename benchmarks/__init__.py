"""Measurements beside other toolkits in one run: `python -m benchmarks.NAME --json FILE [--quick]`."""
