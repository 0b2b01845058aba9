"""The measured tables of README and of the site's pages, made of the records in `results/`.

A page has the place of a table between two comments, `<!-- table: train -->` and `<!-- end -->`.
What stands between them is written by `python scripts/bench.py --publish`, never by hand; a test
fails where the records give something else.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from types import MappingProxyType

from benchmarks.record import Record, Row, cells, read

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "scripts/site/pages").rglob("*.md")))
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Suites = Mapping[str, Record]
"""For each suite, the record that its rows are from."""


def load(folder: Path) -> Suites:
    """The records of a folder.

    Raises:
        ValueError: if a suite is in two of them.
    """
    found: dict[str, Record] = {}
    for file in sorted(folder.glob("*.json")):
        record = read(file)
        if twice := found.keys() & record.suites.keys():
            raise ValueError(f"the suite {min(twice)} is in {file.name} and in another file")
        found |= dict.fromkeys(record.suites, record)
    return found


def write(pages: Iterable[Path], suites: Suites) -> None:
    """Write the tables into the pages."""
    for page in pages:
        page.write_text(render(page.read_text(encoding="utf-8"), suites), encoding="utf-8")


def render(text: str, suites: Suites) -> str:
    """The text of a page with its tables.

    Raises:
        KeyError: for a table that `TABLES` does not have, or without its suites.
    """
    return BLOCK.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](suites)}\n\n{found[3]}", text)


def markdown(lines: Sequence[Sequence[str]], source: str) -> str:
    """A table, its headers first, and a line that says where it is from."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "|---" * len(lines[0]) + "|", *rows[1:], "", source])


def source(suites: Suites, *names: str, timed: bool = True) -> str:
    """Where, when and by which command the suites were measured, and the record's note on times.

    Raises:
        ValueError: if they are of different runs.
    """
    record = suites[names[0]]
    if any(suites[name] is not record for name in names):
        raise ValueError(f"the suites {' and '.join(names)} of one table are of different runs")
    machine = record.machine
    place = machine["device"] if machine["device"] != "cpu" else machine["processor"]
    count = machine.get("cores", 0)
    cores = f", {count} core{'s' * (count > 1)}" if count else ""
    versions = f"Python {record.versions['python']}, JAX {record.versions['jax']}"
    when = f" on {record.date}" if record.date else ""
    commit = f", commit {record.commit}" if record.commit else ""
    command = f"`python scripts/bench.py {' '.join(record.suites)}`"
    parts = (f"{command}{when}{commit}: {place}{cores}; {versions}.", record.note * timed)
    return " ".join(filter(None, parts))


def plain(name: str, *figures: str) -> Callable[[Suites], str]:
    """A table of a suite's rows as they are, with some of their figures.

    A baseline that is the same in all rows stands in the header.
    """

    def table(suites: Suites) -> str:
        rows = suites[name].suites[name]
        baselines = {row.baseline for row in rows} - {""}
        if len(baselines) > 1:
            return markdown(cells(rows, figures), source(suites, name))
        headers, *lines = cells([row._replace(baseline="") for row in rows], figures)
        ratio = " to ".join(["ratio", *baselines])
        headers = [ratio if header == "ratio" else header for header in headers]
        return markdown([headers, *lines], source(suites, name))

    return table


def figure(rows: Iterable[Row], case: str, program: str, name: str) -> float:
    """One figure; NaN where it was not measured."""
    at = (row for row in rows if (row.case, row.program) == (case, program))
    return next((row.values.get(name, nan) for row in at), nan)


def share(value: float) -> str:
    return f"{100 * value:.3g} %" if isfinite(value) else "-"


def times(value: float) -> str:
    """A ratio to two or three digits."""
    return f"{value:.{2 if value < 2 else 1 if value < 10 else 0}f}" if isfinite(value) else "-"


def duration(us: float) -> str:
    """Microseconds in the unit that suits them."""
    number, unit = (us, "µs") if us < 1000 else (us / 1000, "ms")
    return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"


CHECKED: Sequence[tuple[str, str, str]] = (
    ("faults caught: float64", "float64", "detected"),
    ("float32", "float32", "detected"),
    ("loss x 1e-4", "loss x 1e-4", "detected"),
    ("false alarms: float64", "float64", "false_alarms"),
    ("float32", "float32", "false_alarms"),
    ("ties", "ties", "false_alarms"),
)
"""The columns of the table of checkers: the header, the regime and the figure."""


def checkers(suites: Suites) -> str:
    """Faults caught, false alarms, and the least error seen."""
    rows = suites["check"].suites["check"]
    least = suites["sensitivity"].suites["sensitivity"]
    lines = [["checker", *(header for header, *_ in CHECKED), "least error seen: float64"]]
    for name in dict.fromkeys(row.program for row in rows):
        shares = [share(figure(rows, case, name, what)) for _, case, what in CHECKED]
        seen = figure(least, "float64", name, "least_error")
        lines.append([f"`{name}`", *shares, f"{seen:g}" if isfinite(seen) else "-"])
    return markdown(lines, source(suites, "check", "sensitivity", timed=False))


def verdicts(suites: Suites) -> str:
    """How many programs `fcnet.check` was tried on in each regime, and what it said."""
    rows = [row for row in suites["check"].suites["check"] if row.program == "fcnet.check"]
    names = ("wrong", "detected", "placed", "right", "false_alarms")
    names += ("wrong_calls", "right_calls", "wrong_s", "right_s")
    lines = [[case, *shown] for case, _, *shown in cells(rows, names)]
    return markdown(lines, source(suites, "check", "sensitivity"))


def peers(suites: Suites) -> str:
    """A training step in other libraries over that of `fcnet.fit`; the first step, and the loss."""
    rows = suites["train"].suites["train"]
    programs = list(dict.fromkeys(row.program for row in rows if row.program != "fcnet.fit"))
    torch = [name for name in programs if name.startswith("torch")]
    columns = {name: [name] for name in programs if name not in torch}
    if torch:
        columns["PyTorch"] = torch
    lines = [["network", "`fcnet.fit`", *columns]]

    def fastest(case: str, names: Sequence[str]) -> str:
        """The program of a column with the least time."""
        return min(names, key=lambda name: _or_infinite(figure(rows, case, name, "ratio")))

    for case in dict.fromkeys(row.case for row in rows):
        ratios = [figure(rows, case, fastest(case, names), "ratio") for names in columns.values()]
        ours = figure(rows, case, "fcnet.fit", "us")
        lines.append([case, duration(ours), *map(times, ratios)])
    case = next(row.case for row in rows if "64-64" in row.case)
    best = ["fcnet.fit", *(fastest(case, names) for names in columns.values())]
    for title, name, form in (
        ("first step, s", "cold_s", ".2f"),
        ("loss", "loss", ".3f"),
    ):
        shown = (figure(rows, case, program, name) for program in best)
        lines.append([f"{case.split(',')[0]}: {title}", *(f"{value:{form}}" for value in shown)])
    return markdown(lines, source(suites, "train"))


def _or_infinite(value: float) -> float:
    return value if isfinite(value) else float("inf")


def first_results(suites: Suites) -> str:
    """Seconds to the first result, and over the baseline's, for each state of the cache."""
    rows = suites["first"].suites["first"]
    cases = list(dict.fromkeys(row.case for row in rows))
    lines = [["program", *cases]]
    for name in dict.fromkeys(row.program for row in rows):
        seconds = [figure(rows, case, name, "s") for case in cases]
        ratios = [figure(rows, case, name, "ratio") for case in cases]
        pairs = zip(seconds, ratios, strict=True)
        lines.append([name, *(f"{s:.2f} ({r:.2f})" if isfinite(s) else "-" for s, r in pairs)])
    return markdown(lines, source(suites, "first"))


TABLES: Mapping[str, Callable[[Suites], str]] = MappingProxyType(
    {
        "check": checkers,
        "verdicts": verdicts,
        "step": plain("step", "ratio", "low", "high"),
        "sampling": plain("sampling", "ratio", "low", "high"),
        "train": peers,
        "first": first_results,
        "products": plain("products", "us", "ratio", "processor_ratio"),
        "sweep": plain("sweep", "us", "ratio"),
        "scale": plain("scale", "us", "ratio"),
        "houses": plain("houses", "score", "least", "most", "cold_s", "later_s"),
        "mnist": plain("mnist", "score", "cold_s", "later_s"),
        "gpu": plain("gpu", "us", "ratio", "cold_s", "gflop", "mb"),
    }
)
"""By the name that stands in the page."""
