"""A point to go on from: all that the rest of a run depends on, on the host."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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


def to_host(state: State) -> State:
    """A copy in NumPy's arrays; random keys, which NumPy has not, stay JAX's."""
    return jax.tree.map(lambda leaf: jnp.copy(leaf) if is_key(leaf) else np.array(leaf), state)


def to_device(state: State) -> State:
    """A copy in JAX's arrays, each in memory of its own, so that it can be given away."""
    return jax.tree.map(jnp.array, state)


def is_key(leaf: Any) -> bool:
    """Whether an array holds random keys of the new kind."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
