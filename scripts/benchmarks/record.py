"""What every benchmark returns, and how it is kept: rows of figures, and the record of a run.

A record is a JSON file: the machine, the versions of the libraries, the day and the commit, and the
rows of each suite. `results/` holds those whose figures are published.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"


class Row(NamedTuple):
    """The figures of one program on one case.

    Attributes:
        case: the work: a network, a file, a data set.
        program: what does it.
        values: the figures by their names in `FIGURES`.
        baseline: the program whose time divides that of this one in `ratio`; "" is none.
    """

    case: str
    program: str
    values: Mapping[str, float]
    baseline: str = ""


class Record(NamedTuple):
    """One run of `scripts/bench.py`.

    Attributes:
        machine: the device, the processor and the number of cores.
        versions: of Python and of the libraries.
        date: the day, as 2026-11-28, or None if it is not known.
        commit: of this repository, with "-dirty" if files were changed, or None.
        note: what a reader of the figures has to know besides.
        suites: the rows of each suite.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    date: str | None
    commit: str | None
    note: str
    suites: dict[str, list[Row]]

    def write(self, file: Path) -> None:
        """Write JSON, which has neither NaN nor infinity: such a figure is null."""
        suites = {
            suite: [{**row._asdict(), "values": _finite(row.values)} for row in rows]
            for suite, rows in self.suites.items()
        }
        text = json.dumps({**self._asdict(), "suites": suites}, indent=1, allow_nan=False)
        file.write_text(text + "\n", encoding="utf-8")


def read(file: Path) -> Record:
    """The record in a file; figures that are null are NaN."""
    record = Record(**json.loads(file.read_text(encoding="utf-8")))
    suites = {
        suite: [
            Row(**{**row, "values": {k: _number(v) for k, v in row["values"].items()}})
            for row in rows
        ]
        for suite, rows in record.suites.items()
    }
    return record._replace(suites=suites)


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if isfinite(value) else None for name, value in values.items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


FIGURES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "us": ("us/step", ".4g"),  # the median, in microseconds
        "baseline_us": ("baseline's", ".4g"),
        "s": ("s", ".2f"),  # the median, on the clock
        "processor_s": ("processor s", ".2f"),  # of all threads
        "ratio": ("ratio", ".3g"),  # the median over rounds of the time over the baseline's
        "low": ("from", ".3g"),  # the quartiles of that ratio
        "high": ("to", ".3g"),
        "processor_ratio": ("processor", ".3g"),
        "rounds": ("rounds", ".0f"),
        "over_floor": ("over floor", ".3g"),  # the median over the least time of the arithmetic
        "difference": ("difference", ".1g"),  # from the baseline's result, relative
        "cold_s": ("first s", ".2f"),  # the first run, which compiles
        "later_s": ("later s", ".2f"),
        "loss": ("loss", ".5g"),  # after training, on all the data
        "gflop": ("GFLOP", ".3g"),
        "mb": ("MB", ".0f"),
        "limit_mb": ("limit MB", ".0f"),
        "small_mb": ("MB of 2,000 rows", ".0f"),
        "arrays_mb": ("MB of arrays", ".0f"),
        "in_arrays": ("difference / arrays", ".2f"),
        "detected": ("detected", ".1%"),  # the share of wrong programs that were called wrong
        "wrong": ("wrong", ",.0f"),  # their number
        "false_alarms": ("false alarms", ".1%"),  # the share of right programs called wrong
        "right": ("right", ",.0f"),
        "placed": ("placed", ".1%"),  # the share of faults with exactly their line and layer
        "wrong_calls": ("calls of a wrong one", ".0f"),  # the median, to the verdict
        "right_calls": ("calls of a right one", ".0f"),
        "wrong_s": ("s of a wrong one", ".3f"),
        "right_s": ("s of a right one", ".3f"),
        "least_error": ("least error seen", "g"),  # relative, of one entry of median size
        "score": ("score", ".3f"),  # R^2 or accuracy on held-out examples, the mean over the seeds
        "least": ("least", ".3f"),  # over the seeds
        "most": ("most", ".3f"),
        "validation": ("validation", ".3f"),  # the score on rows that training stopped by
    }
)
"""The header of each figure in a table, and its format."""


def cells(rows: Sequence[Row], figures: Iterable[str] = FIGURES) -> list[list[str]]:
    """The rows as a table, its headers first; without the columns that no row fills."""
    named: list[tuple[str, Callable[[Row], str]]] = [
        ("case", lambda row: row.case),
        ("program", lambda row: row.program),
        ("baseline", lambda row: row.baseline),
    ]
    named += [(FIGURES[name][0], lambda row, name=name: show(row, name)) for name in figures]
    columns = [[header, *(cell(row) for row in rows)] for header, cell in named]
    filled = [column for column in columns if not set(column[1:]) <= {"", "-"}]
    return [list(line) for line in zip(*filled, strict=True)]


def show(row: Row, name: str) -> str:
    """The figure as a table shows it; "-" where there is none."""
    value, form = row.values.get(name, float("nan")), FIGURES[name][1]
    if not isfinite(value):
        return "-"
    text = f"{value:{form}}"
    return f"{float(text):g}" if form.endswith("g") else text  # without 4.5e+04


def format_rows(rows: Sequence[Row]) -> str:
    """The rows as a table for a terminal."""
    lines = cells(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
