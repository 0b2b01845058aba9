"""The shapes of a network's loss, for the tests of circuit sizes."""

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

import fcnet


def network(*sizes: int) -> Any:
    """Shapes of (params, x, y) for one example; a circuit's size depends on nothing else."""
    shape = partial(jax.ShapeDtypeStruct, dtype=jnp.zeros(()).dtype)
    params = tuple(fcnet.Layer(shape((m, m_below)), shape((m,))) for m_below, m in pairwise(sizes))
    return params, shape(sizes[:1]), shape(sizes[-1:])
