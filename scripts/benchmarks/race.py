"""Time several programs that do the same work, in turn.

After a call, a library's threads keep spinning for a while and slow the next program. So each run
starts after a pause, and should last 0.3 s or more. The result is the median over the rounds of a
program's time divided by that of the first program in the same round.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from benchmarks.measure import Program

REST = 0.3


class Place(NamedTuple):
    """One program's result. `ratio` is its time a step divided by that of the first program."""

    case: str
    program: str
    us: float  # the median, in microseconds a step
    ratio: float  # the median over the rounds
    low: float  # the quartiles
    high: float
    cold: float  # seconds of the first run, with compilation
    loss: float  # on all the data after training; NaN if it is not measured
    rounds: int

    @property
    def cells(self) -> dict[str, str]:
        """The row as the terminal shows it, by the headers of its columns."""
        return {
            "case": self.case,
            "program": self.program,
            "us/step": f"{self.us:.4g}",
            "ratio": f"{self.ratio:.2f}",
            "quartiles": f"{self.low:.2f}-{self.high:.2f}",
            "cold s": f"{self.cold:.2f}",
            "final loss": "-" if np.isnan(self.loss) else f"{self.loss:.5g}",
        }


def race(
    case: str, programs: Sequence[Program], losses: Sequence[float] | None, rounds: int
) -> list[Place]:
    """The results of the programs; all ratios are to the first one."""
    cold = [_seconds(program) for program in programs]
    times = np.empty((rounds, len(programs)))
    for row in times:
        for i, program in enumerate(programs):
            time.sleep(REST)
            row[i] = _seconds(program) / program.steps
    quartiles = np.quantile(times / times[:, :1], (0.25, 0.5, 0.75), axis=0)
    return [
        Place(
            case=case,
            program=program.name,
            us=float(1e6 * np.median(times[:, i])),
            ratio=float(quartiles[1, i]),
            low=float(quartiles[0, i]),
            high=float(quartiles[2, i]),
            cold=cold[i],
            loss=np.nan if losses is None else losses[i],
            rounds=rounds,
        )
        for i, program in enumerate(programs)
    ]


def _seconds(program: Program) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program.run())
    return time.perf_counter() - start
