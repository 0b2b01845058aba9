"""Time several programs that do the same work, in turn.

After a call, a library's threads keep spinning for a while and slow the next program. So each run
starts after a pause, and should last 0.3 s or more. The result is the median over the rounds of a
program's time divided by that of the first program in the same round.
"""

import time
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks.measure import Program
from benchmarks.record import Row

REST = 0.3


def race(case: str, programs: Sequence[Program], rounds: int) -> list[Row]:
    """The results of the programs; all ratios are to the first one.

    The first run of each, with compilation, is `cold_s` and not among the rounds.
    """
    cold = [_seconds(program) for program in programs]
    times = np.empty((rounds, len(programs)))
    for row in times:
        for i, program in enumerate(programs):
            time.sleep(REST)
            row[i] = _seconds(program) / program.steps
    low, ratio, high = np.quantile(times / times[:, :1], (0.25, 0.5, 0.75), axis=0)
    return [
        Row(
            case,
            program.name,
            {
                "us": float(1e6 * np.median(times[:, i])),
                "ratio": float(ratio[i]),
                "low": float(low[i]),
                "high": float(high[i]),
                "rounds": rounds,
                "cold_s": cold[i],
            },
            baseline=programs[0].name if i else "",
        )
        for i, program in enumerate(programs)
    ]


def _seconds(program: Program) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program.run())
    return time.perf_counter() - start
