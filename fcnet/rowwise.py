"""Functions of rows, in programs for few numbers of rows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from fcnet.checks import as_jax, on_host

AT_ONCE = 2**13
"""The most rows that go through a function at once, which bounds the memory of what it computes."""


def by_rows(
    function: Callable[[Array], Array], X: Float[Array | np.ndarray, "n d"]
) -> Float[Array, "n ..."]:
    """The results of a function for each row of X, which JAX would compile for every n.

    Rows go through it `AT_ONCE` at a time. Of the last ones, the first is repeated up to a power of
    two, and what becomes of the copies is left out. So 14 programs serve for all n. Rows that are
    not on a CPU go through the function as they are: to take some of them is a program, too. So do
    rows on devices that the caller chose, where the results are to stay.

    >>> sizes = []
    >>> for n in (1, 5, 8, 7, 20_000):
    ...     assert len(by_rows(lambda rows: sizes.append(len(rows)) or rows, np.ones((n, 1)))) == n
    >>> sizes
    [1, 8, 8, 8, 8192, 8192, 4096]
    """
    rows, n = unplaced(X), len(X)
    is_power = n & (n - 1) == 0  # of two; or there are no rows
    if not isinstance(rows, np.ndarray) or (is_power and n <= AT_ONCE):
        return function(as_jax(X))
    found = []
    for begin in range(0, n, AT_ONCE):
        part = rows[begin : begin + AT_ONCE]
        copies = np.repeat(part[:1], (1 << (len(part) - 1).bit_length()) - len(part), axis=0)
        o = unplaced(function(as_jax(np.concatenate([part, copies]) if len(copies) else part)))
        found.append(o[: len(part)])
    known = all(isinstance(o, np.ndarray) for o in found)  # not while JAX traces the function
    return as_jax(np.concatenate(found)) if known else jnp.concatenate(found)


def unplaced(array: Any) -> Any:
    """`on_host`, but an array stays on devices that were chosen for it.

    >>> rows = jnp.ones(2)
    >>> type(unplaced(rows)).__name__, unplaced(jax.device_put(rows, jax.devices()[0])).committed
    ('ndarray', True)
    """
    has_values = isinstance(array, Array) and not isinstance(array, jax.core.Tracer)
    return array if has_values and array.committed else on_host(array)
