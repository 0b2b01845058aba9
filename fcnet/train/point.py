"""A point to go on from: all that the rest of a run depends on, on the host."""

from typing import NamedTuple

import numpy as np

from fcnet.train.history import History
from fcnet.train.loop import State
from fcnet.types import Params

Entry = tuple[float, ...]
"""One row of the history."""


class Point(NamedTuple):
    """The state after some steps, in NumPy's arrays, and what was measured on the way.

    With `patience`, `kept` holds the parameters of entry `best`, and is empty without.
    """

    step: int
    state: State
    entries: tuple[Entry, ...]
    best: int
    kept: Params

    @property
    def history(self) -> History:
        """The entries, as arrays."""
        return History(*np.array(self.entries).T)
