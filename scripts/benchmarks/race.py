"""Time several programs that do the same work, in turn.

After a call, a library's threads keep spinning for a while and slow the next program. So each run
starts after a pause, and should last 0.3 s or more. The result is the median over the rounds of a
program's time divided by that of the first program in the same round.
"""

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import Program, ratios, seconds_a_step
from benchmarks.record import Row

REST = 0.3


def race(case: str, programs: Sequence[Program], rounds: int) -> list[Row]:
    """The results of the programs; all ratios are to the first one.

    The first run of each, with compilation, is `cold_s` and not among the rounds.
    """
    cold = [float(seconds_a_step(program)[0]) * program.steps for program in programs]
    times = np.empty((rounds, len(programs), 2))  # the clocks last
    for row in times:
        for i, program in enumerate(programs):
            time.sleep(REST)
            row[i] = seconds_a_step(program)
    return [
        Row(
            case,
            program.name,
            {
                "us": float(1e6 * np.median(times[:, i, 0])),
                **ratios(times[:, i], times[:, 0]),
                "rounds": rounds,
                "cold_s": cold[i],
            },
            baseline=programs[0].name if i else "",
        )
        for i, program in enumerate(programs)
    ]
