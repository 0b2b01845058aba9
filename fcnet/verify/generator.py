"""The source of chance of a check: NumPy's generator for a random key of JAX."""

import jax
import numpy as np
from jax import Array

from fcnet.checks import check_key
from fcnet.forks import check_process


def generator_of(key: Array | None) -> np.random.Generator:
    """The generator for a key; for none, that of `jax.random.key(0)`.

    >>> draw = generator_of(jax.random.key(0)).normal()
    >>> draw == generator_of(None).normal()
    True
    """
    check_process()
    if key is None:
        return np.random.default_rng([0, 0])
    check_key(key)
    return np.random.default_rng(np.ravel(jax.random.key_data(key)))
