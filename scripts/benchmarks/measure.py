"""Time two programs side by side.

Other processes slow whichever program runs at the moment. So the two alternate, in runs so short
that a disturbance mostly hits both runs of a pair, and the result is the median of the pairs'
ratios. The ratio of processor times, which other processes hardly change, is a check on it.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Program(NamedTuple):
    """A program to time: `run` does `steps` steps of the work and returns its arrays."""

    name: str
    run: Callable[[], Any]
    steps: int


class Row(NamedTuple):
    """One comparison. `ratio` is the variant's time divided by the baseline's for the same work."""

    case: str
    variant: str
    baseline: str
    variant_us: float  # medians, in microseconds a step
    baseline_us: float
    ratio: float  # the median over the pairs
    low: float  # their quartiles, which show the noise
    high: float
    processor_ratio: float  # the median of the ratios of this process's processor times
    pairs: int

    @property
    def cells(self) -> dict[str, str]:
        """The row as the terminal shows it, by the headers of its columns."""
        return {
            "case": self.case,
            "variant": self.variant,
            "us/step": f"{self.variant_us:.4g}",
            "baseline": self.baseline,
            "us/step ": f"{self.baseline_us:.4g}",
            "ratio": f"{self.ratio:.3f}",
            "quartiles": f"{self.low:.3f}-{self.high:.3f}",
            "processor": f"{self.processor_ratio:.3f}",
            "pairs": f"{self.pairs}",
        }


def compare(case: str, variant: Program, baseline: Program, pairs: int) -> Row:
    """Warm both up, then time them in pairs; each pair starts with the other program."""
    for program in (variant, baseline):
        _times(program)
    times = np.empty((pairs, 2, 2))  # pair, variant or baseline, clock
    for pair in range(pairs):
        for i in (0, 1) if pair % 2 else (1, 0):
            times[pair, i] = _times((variant, baseline)[i])
    low, ratio, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75), axis=0)
    variant_us, baseline_us = 1e6 * np.median(times[:, :, 0], axis=0)
    return Row(
        case=case,
        variant=variant.name,
        baseline=baseline.name,
        variant_us=float(variant_us),
        baseline_us=float(baseline_us),
        ratio=float(ratio[0]),
        low=float(low[0]),
        high=float(high[0]),
        processor_ratio=float(ratio[1]),
        pairs=pairs,
    )


def _times(program: Program) -> np.ndarray:
    """Seconds a step, in wall time and in processor time."""
    start = np.array([time.perf_counter(), time.process_time()])
    jax.block_until_ready(program.run())
    stop = np.array([time.perf_counter(), time.process_time()])
    return (stop - start) / program.steps


def format_rows(rows: Sequence[Any]) -> str:
    """Rows of one type as a table for a terminal."""
    lines = [list(rows[0].cells), *(list(row.cells.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def describe_machine() -> dict[str, str | int | None]:
    """What the figures depend on."""
    return {
        "device": jax.devices()[0].device_kind,
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
    }
