"""Time two programs side by side, and describe where.

Other processes slow whichever program runs at the moment. So the two alternate, in runs so short
that a disturbance mostly hits both runs of a pair, and the result is the median of the pairs'
ratios. The ratio of processor times, which other processes hardly change, is a check on it.
"""

import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.record import Row


class Program(NamedTuple):
    """A program to time: `run` does `steps` steps of the work and returns its arrays."""

    name: str
    run: Callable[[], Any]
    steps: int


def name_case(sizes: Sequence[int], batch_size: int) -> str:
    """A network and its batches in words."""
    return f"{'-'.join(map(str, sizes))}, B = {batch_size:,}"


def compare(case: str, variant: Program, baseline: Program, pairs: int) -> Row:
    """Warm both up, then time them in pairs; each pair starts with the other program."""
    for program in (variant, baseline):
        seconds_a_step(program)
    times = np.empty((pairs, 2, 2))  # pair, variant or baseline, clock
    for pair in range(pairs):
        for i in (0, 1) if pair % 2 else (1, 0):
            times[pair, i] = seconds_a_step((variant, baseline)[i])
    variant_us, baseline_us = 1e6 * np.median(times[:, :, 0], axis=0)
    values = {
        "us": float(variant_us),
        "baseline_us": float(baseline_us),
        **ratios(times[:, 0], times[:, 1]),
        "rounds": pairs,
    }
    return Row(case, variant.name, values, baseline.name)


def ratios(times: np.ndarray, baseline: np.ndarray) -> dict[str, float]:
    """The median ratio over the rounds and its quartiles, and the median of processor times.

    Times have shape (rounds, 2), on the clock and of the processor.
    """
    low, ratio, high = np.quantile(times / baseline, (0.25, 0.5, 0.75), axis=0)
    return {
        "ratio": float(ratio[0]),
        "low": float(low[0]),
        "high": float(high[0]),
        "processor_ratio": float(ratio[1]),
    }


def seconds_a_step(program: Program) -> np.ndarray:
    """Seconds a step, in wall time and in processor time."""
    start = np.array([time.perf_counter(), time.process_time()])
    jax.block_until_ready(program.run())
    stop = np.array([time.perf_counter(), time.process_time()])
    return (stop - start) / program.steps


LIBRARIES = (
    *("jax", "jaxlib", "numpy", "scipy", "optax", "scikit-learn", "torch", "flax", "equinox"),
    *("chex", "autograd", "pandas", "polars"),
)


def machine() -> dict[str, Any]:
    """What the figures depend on: the device, the processor, and how many cores may be used."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux's
    name = re.search(r"model name\s*: (.*)", text)
    return {
        "device": jax.devices()[0].device_kind,
        "processor": name[1] if name else platform.machine(),
        "avx512": " avx512f " in text,
        "cores": os.cpu_count() if affinity is None else len(affinity(0)),
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """This repository's commit, with "-dirty" if its programs were changed; None without git."""
    git = ["git", "-C", Path(__file__).parents[2]]
    changed = [*git, "diff", "--quiet", "HEAD", "--", "fcnet", "scripts/*.py", "tests/support"]
    try:
        done = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(changed, check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() + "-dirty" * bool(dirty)
