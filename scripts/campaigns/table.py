"""The campaigns by name."""

from collections.abc import Callable
from typing import NamedTuple

from campaigns import calls, damage, full_disk, kills, reports, tables
from campaigns.outcomes import Report


class Campaign(NamedTuple):
    """Cases of one kind of trouble.

    Attributes:
        what: they are.
        run: run(seed, cases, report) makes these cases and reports what becomes of each.
        count: how many there are, usually.
        chunk: how many a process works on; what is interrupted begins again with its chunk.
        limit: the seconds after which a case counts as one that hangs.
    """

    what: str
    run: Callable[[int, range, Report], None]
    count: int
    chunk: int
    limit: float = 60.0


CAMPAIGNS = {
    "kills": Campaign(
        "kill -9 at random moments of fit, of a stream, of fcnet train and of fcnet sweep",
        kills.run, 1000, 40, 300.0,
    ),
    "damage": Campaign(
        "each byte of a checkpoint, a model and a schema flipped, and each prefix of them",
        damage.run, damage.count(), 2500,
    ),
    "disk": Campaign(
        "a disk that fills at any byte of any file that is written", full_disk.run, 1000, 100
    ),
    "calls": Campaign("malformed calls of all public functions", calls.run, 10**5, 2500),
    "tables": Campaign(
        "random and damaged CSV and Parquet files, through reading, schema and examples",
        tables.run, 10**4, 500,
    ),
    "reports": Campaign(
        "random reports, through JSON and HTML", reports.run, 10**4, 1000
    ),
}  # fmt: skip
