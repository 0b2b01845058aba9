#!/usr/bin/env python
"""Benchmarks: the time of a variant divided by that of a baseline that does the same work.

    python scripts/bench.py step                    # one suite
    python scripts/bench.py                         # all of them
    python scripts/bench.py sampling --json out.json

Compare only ratios within one run. On a busy machine, run under `taskset -c 0`: one thread on one
core is disturbed least. `--quick` runs the smallest cases once, to see that they run. Each row is
also written to stderr as soon as it is measured.

The suites `houses`, `mnist` and `defaults` measure how well networks predict held-out examples.
"""

import argparse
import json
import sys
from math import isfinite
from pathlib import Path
from typing import Any

from benchmarks import (
    check,
    defaults,
    first,
    gpu,
    products,
    sampling,
    scale,
    scores,
    step,
    sweep,
    table,
    train,
)
from benchmarks.measure import describe_machine, format_rows

SUITES = {
    "step": step.run,
    "sampling": sampling.run,
    "check": check.run,
    "sensitivity": check.sensitivity,
    "first": first.run,
    "train": train.run,
    "products": products.run,
    "sweep": sweep.run,
    "scale": scale.time,
    "memory": scale.memory,
    "reading": table.reading,
    "table": table.training,
    "gpu": gpu.run,
    "houses": scores.houses,
    "mnist": scores.mnist,
    "defaults": defaults.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="run the smallest cases once")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SUITES):
        parser.error(f"unknown suite {min(unknown)!r}; known are {', '.join(SUITES)}")

    machine = describe_machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    rows = []
    for suite in arguments.suites or SUITES:
        new = []
        for row in SUITES[suite](quick=arguments.quick):
            print(f"{suite}:", *row.cells.values(), sep="  ", file=sys.stderr, flush=True)
            new.append(row)
        if new:
            print(f"\n{suite}\n{format_rows(new)}", flush=True)
        rows += [{"suite": suite, **_numbers(row._asdict())} for row in new]
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """The row with None for NaN and infinity, which JSON does not have."""
    bad = {name for name, value in row.items() if isinstance(value, float) and not isfinite(value)}
    return {name: None if name in bad else value for name, value in row.items()}


if __name__ == "__main__":
    main()
