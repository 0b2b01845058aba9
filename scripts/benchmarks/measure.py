"""Time two programs side by side.

A busy machine slows whoever runs at the moment. So the two run by turns, in runs short enough that
a disturbance mostly hits both runs of a pair, and what counts is the median of the pairs' ratios.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Program(NamedTuple):
    """Something to time: `run` does `steps` steps of the work and returns its arrays."""

    name: str
    run: Callable[[], Any]
    steps: int


class Row(NamedTuple):
    """One comparison. `ratio` is the variant's time divided by the baseline's, of equal work."""

    case: str
    variant: str
    baseline: str
    ratio: float  # the median over the pairs
    low: float  # and their quartiles: how noisy it was
    high: float
    variant_us: float  # medians, in microseconds a step
    baseline_us: float
    pairs: int


def compare(case: str, variant: Program, baseline: Program, pairs: int) -> Row:
    """Warm both up, then time them by turns, the first of a pair changing each time."""
    for program in (variant, baseline):
        _seconds(program)
    times = np.empty((pairs, 2))
    for pair in range(pairs):
        for i in (0, 1) if pair % 2 else (1, 0):
            times[pair, i] = _seconds((variant, baseline)[i])
    low, ratio, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75)).tolist()
    variant_us, baseline_us = (1e6 * np.median(times, axis=0)).tolist()
    return Row(case, variant.name, baseline.name, ratio, low, high, variant_us, baseline_us, pairs)


def _seconds(program: Program) -> float:
    """Wall time of one step."""
    start = time.perf_counter()
    jax.block_until_ready(program.run())
    return (time.perf_counter() - start) / program.steps


def format_rows(rows: Sequence[Row]) -> str:
    """A table for a terminal."""
    lines = [("case", "variant", "baseline", "us/step", "us/step", "ratio", "quartiles", "pairs")]
    for row in rows:
        lines.append(
            (
                row.case,
                row.variant,
                row.baseline,
                f"{row.variant_us:.4g}",
                f"{row.baseline_us:.4g}",
                f"{row.ratio:.3f}",
                f"{row.low:.3f}-{row.high:.3f}",
                f"{row.pairs}",
            )
        )
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
