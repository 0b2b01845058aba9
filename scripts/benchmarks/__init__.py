"""The suites of `scripts/bench.py`, one in each module, and how they measure."""
