"""Parameters of tests in pairs, of which a few are tried by default and all in the slow run."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest


def diagonal(rows: Iterable[Any], columns: Iterable[Any]) -> list[Any]:
    """All pairs of a row and a column; by default each row and each column once, at least."""
    rows, columns = list(rows), list(columns)
    count = max(len(rows), len(columns))
    default = {(i % len(rows), i % len(columns)) for i in range(count)}
    return [
        pytest.param(row, column, marks=[] if (i, j) in default else [pytest.mark.slow])
        for (i, row), (j, column) in product(enumerate(rows), enumerate(columns))
    ]
