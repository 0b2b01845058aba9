#!/usr/bin/env python
"""Benchmarks: the time of a variant divided by that of a baseline that does the same work.

    python scripts/bench.py step                    # one suite
    python scripts/bench.py                         # all of them
    python scripts/bench.py sampling --json out.json

Compare only ratios within one run. On a busy machine, run under `taskset -c 0`: one thread on one
core is disturbed least. `--quick` runs the smallest cases once, to see that they run. Each row is
also written to stderr as soon as it is measured.

The suites `houses`, `mnist` and `defaults` measure how well networks predict held-out examples.

What README and the site show is made of the files of scripts/benchmarks/results:

    python scripts/bench.py train --json scripts/benchmarks/results/train.json
    python scripts/bench.py --publish               # writes the tables
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import jax
from benchmarks import (
    check,
    defaults,
    first,
    gpu,
    layouts,
    products,
    publish,
    sampling,
    scale,
    scores,
    step,
    sweep,
    table,
    train,
)
from benchmarks.measure import commit, machine, versions
from benchmarks.record import RESULTS, Record, format_rows, show

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
    "layouts": layouts.run,
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
    parser.add_argument("--note", default="", help="what a reader of FILE has to know besides")
    parser.add_argument(
        "--publish", action="store_true", help="only write the tables of README and of the site"
    )
    parser.add_argument("--quick", action="store_true", help="run the smallest cases once")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(SUITES):
        parser.error(f"unknown suite {min(unknown)!r}; known are {', '.join(SUITES)}")

    if arguments.publish:
        publish.write(publish.PAGES, publish.load(RESULTS))
        return

    # A first run is to compile, in this process and in those that it starts.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    jax.config.update("jax_enable_compilation_cache", False)
    today = datetime.now(UTC).date().isoformat()
    note = "the smallest cases, once" if arguments.quick else arguments.note
    record = Record(machine(), versions(), today, commit(), note, suites={})
    print(
        ", ".join(f"{name} {value}" for name, value in (record.machine | record.versions).items())
    )
    for suite in arguments.suites or SUITES:
        rows = record.suites.setdefault(suite, [])
        for row in SUITES[suite](quick=arguments.quick):
            rows.append(row)
            shown = [show(row, name) for name in row.values]
            print(f"{suite}:", row.case, row.program, *shown, sep="  ", file=sys.stderr, flush=True)
            if arguments.json:  # after each row, for runs that end early
                record.write(arguments.json)
        if rows:
            print(f"\n{suite}\n{format_rows(rows)}", flush=True)


if __name__ == "__main__":
    main()
