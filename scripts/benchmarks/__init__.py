"""The suites of `scripts/bench.py`, one a module, and the modules that measure for them."""
