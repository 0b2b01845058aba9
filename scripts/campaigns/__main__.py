"""The command line of `scripts/campaign`: the chunks of the campaigns, in two processes."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from benchmarks.measure import commit, machine, versions

from campaigns.outcomes import OUTCOMES, PROMISED, Result
from campaigns.table import CAMPAIGNS, Campaign
from fcnet.files import write_file

WORK = [sys.executable, "-m", "campaigns.work"]
"""The program of a process."""

MOST_FAULTS = 20
"""A chunk stores the details of no more faults."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run campaigns, print a table of them, and return 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="scripts/campaign", description=__doc__)
    known = ", ".join(CAMPAIGNS)
    parser.add_argument("names", nargs="*", metavar="campaign", help=f"of {known}; default all")
    parser.add_argument("--count", type=int, help="cases of each, instead of its usual number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results are stored")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(CAMPAIGNS):
        parser.error(f"unknown campaign {min(unknown)!r}; known are {known}")
    chosen = {name: CAMPAIGNS[name] for name in options.names or CAMPAIGNS}

    results = Results(options.json, options.seed)
    print(f"seed {options.seed}", flush=True)
    tasks = [
        (name, campaign, chunk)
        for name, campaign in chosen.items()
        for chunk in _chunks(options.count or campaign.count, campaign.chunk)
        if not results.is_done(name, chunk)
    ]

    def work(task: tuple[str, Campaign, range]) -> None:
        name, campaign, chunk = task
        began = time.perf_counter()
        found = list(_worked(name, campaign, chunk, options.seed))
        results.add(name, campaign, chunk, found, time.perf_counter() - began)

    with ThreadPoolExecutor(options.jobs) as pool:
        for _ in pool.map(work, tasks):
            pass
    print(results.table(), flush=True)
    return int(results.has_faults())


def _chunks(count: int, size: int) -> Iterator[range]:
    return (range(begin, min(begin + size, count)) for begin in range(0, count, size))


def _worked(name: str, campaign: Campaign, chunk: range, seed: int) -> Iterator[Result]:
    """The results of a chunk; a process that crashes or hangs is replaced, and its case noted."""
    begin = chunk.start
    while begin < chunk.stop:
        bounds = (name, str(seed), str(begin), str(chunk.stop))
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [*WORK, *bounds],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            done = 0
            for line in _in_time(process, campaign.limit):
                done += 1
                yield Result(*json.loads(line))
            if process.returncode == 0:
                return
            errors.seek(0)
            said = " ".join(errors.read().split())[-300:]
        outcome = "hang" if process.returncode == -signal.SIGKILL else "foreign"
        ended = f"the process ended with {process.returncode} at or after case {begin + done}"
        yield Result(outcome, f"{ended}: {said}")
        begin += done + 1


def _in_time(process: "subprocess.Popen[str]", limit: float) -> Iterator[str]:
    """The lines of a process, which is killed where the next one takes longer than `limit`."""
    assert process.stdout is not None
    with process:
        while True:
            timer = Timer(limit, process.kill)
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            if not line:
                return
            yield line


class Results:
    """The tallies of chunks, stored in a file after each."""

    def __init__(self, file: Path | None, seed: int) -> None:
        self.file, self.lock = file, Lock()
        self.stored: dict[str, Any] = {
            "machine": machine(),
            "versions": versions(),
            "commit": commit(),
            "seed": seed,
            "campaigns": {},
        }
        if file is not None and file.exists():
            self.stored = json.loads(file.read_text(encoding="utf-8"))
            if self.stored["seed"] != seed:
                raise SystemExit(f"{file} is of seed {self.stored['seed']}, not {seed}")

    def is_done(self, name: str, chunk: range) -> bool:
        """Whether a chunk was worked on; one with faults is worked on again."""
        found = self._chunks(name).get(_key(chunk))
        return found is not None and not found["faults"]

    def add(
        self, name: str, campaign: Campaign, chunk: range, results: list[Result], seconds: float
    ) -> None:
        faults = [result._asdict() for result in results if result.outcome not in PROMISED]
        tally = {
            **Counter(result.outcome for result in results),
            "faults": faults[:MOST_FAULTS],
            "seconds": round(seconds, 1),
        }
        with self.lock:
            stored = self.stored["campaigns"].setdefault(name, {"chunks": {}})
            stored["what"] = campaign.what
            stored["chunks"][_key(chunk)] = tally
            stored |= self._totals(name)
            if self.file is not None:
                write_file(self.file, (json.dumps(self.stored, indent=1) + "\n").encode())
            print(f"{name} {_key(chunk)}: {_in_words(tally)}", file=sys.stderr, flush=True)

    def _chunks(self, name: str) -> dict[str, Any]:
        return self.stored["campaigns"].get(name, {}).get("chunks", {})

    def _totals(self, name: str) -> dict[str, int]:
        chunks = self._chunks(name).values()
        totals = {o: sum(chunk.get(o, 0) for chunk in chunks) for o in OUTCOMES}
        return {"tried": sum(totals.values()), **totals}

    def has_faults(self) -> bool:
        """Whether any campaign has one."""
        names = self.stored["campaigns"]
        return any(self._totals(name)[o] for name in names for o in OUTCOMES if o not in PROMISED)

    def table(self) -> str:
        """A line for each campaign."""
        rows = [["campaign", "tried", *OUTCOMES]]
        for name in self.stored["campaigns"]:
            rows.append([name, *(f"{number:,}" for number in self._totals(name).values())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [[c.rjust(w) for c, w in zip(row, widths, strict=True)] for row in rows]
        return "\n".join("  ".join(line) for line in lines)


def _key(chunk: range) -> str:
    return f"{chunk.start}-{chunk.stop}"


def _in_words(tally: dict[str, Any]) -> str:
    counts = ", ".join(f"{tally[o]} {o}" for o in OUTCOMES if o in tally)
    details = "".join(f"\n  {fault['outcome']}: {fault['detail']}" for fault in tally["faults"])
    return f"{counts} in {tally['seconds']} s{details}"


if __name__ == "__main__":
    sys.exit(main())
