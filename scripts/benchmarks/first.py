"""The time to the first result in a fresh process, imports aside, beside a jitted training loop.

Each program of fresh.py runs alone in a new process, and the programs take turns: without JAX's
cache of compiled programs, then with one that is empty, then with what the second process left
there. The time is almost all tracing and compiling. Processor time is that of all threads; other
processes on the machine change it less than the time on the clock.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.fresh import BASELINE, PROGRAMS, TORCH, WITHOUT_JAX
from benchmarks.measure import ratios
from benchmarks.record import Row

ROUNDS = 5
RESULTS = ("first", "second, another shape")
NO_CACHE = "no cache"
CACHES = (NO_CACHE, "empty cache", "filled cache")
Times = dict[tuple[str, str], list[list[list[float]]]]
"""By program and cache: for each round, the clocks of each result."""


def run(quick: bool) -> Iterator[Row]:
    rounds = 1 if quick else ROUNDS
    programs = [name for name in PROGRAMS if name != TORCH or find_spec("torch")]
    cached = programs[:2] if quick else [name for name in programs if name not in WITHOUT_JAX]
    times: Times = {}
    for _ in range(rounds):
        for name in programs:
            with TemporaryDirectory() as folder:
                for cache in CACHES if name in cached else (NO_CACHE,):
                    times.setdefault((name, cache), []).append(_fresh(name, cache, folder))
    for (name, cache), measured in times.items():
        runs = np.array(measured)  # round, result, clock
        baseline = np.array(times[BASELINE, cache])[:, 0]
        for i in range(runs.shape[1]):
            seconds, processor_seconds = np.median(runs[:, i], axis=0)
            values = {
                "s": float(seconds),
                "processor_s": float(processor_seconds),
                **ratios(runs[:, i], baseline),
                "rounds": rounds,
            }
            yield Row(f"{RESULTS[i]}, {cache}", name, values, BASELINE)


def _fresh(name: str, cache: str, folder: str) -> list[list[float]]:
    """The seconds of each result of a program in a new process, on the clock and of processors."""
    variables = {
        "JAX_ENABLE_COMPILATION_CACHE": str(cache != NO_CACHE).lower(),
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONDONTWRITEBYTECODE": "",  # or modules would be compiled again for each command
    }
    call = [sys.executable, Path(__file__).with_name("fresh.py"), name]
    done = subprocess.run(
        call, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
