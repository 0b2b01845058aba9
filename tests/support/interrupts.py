"""Ctrl-C at a chosen line of the package."""

import signal
import sys

import numpy as np


def lines_of(work, files, signal_at=None):
    """The number of lines that run of files whose names begin like `files`.

    At the line `signal_at`, the terminal sends a SIGINT.
    """
    seen = 0

    def in_function(frame, event, argument):
        nonlocal seen
        seen += event == "line"
        if seen == signal_at and event == "line":
            signal.raise_signal(signal.SIGINT)
        return in_function

    def in_call(frame, event, argument):
        return in_function if frame.f_code.co_filename.startswith(files) else None

    before = sys.gettrace()
    sys.settrace(in_call)
    try:
        work()
    finally:
        sys.settrace(before)
    return seen


def moments(count):
    """Which of 1,000 parts of a run a signal comes in."""
    return sorted(np.random.default_rng(0).choice(1000, count, replace=False).tolist())
