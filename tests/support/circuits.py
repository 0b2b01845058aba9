"""The shapes of a network's loss, for the tests of circuit sizes."""

from typing import Any

import jax
import jax.numpy as jnp

import fcnet


def network(*sizes: int) -> Any:
    """Shapes of (params, x, y) for one example; a circuit's size depends on nothing else."""
    return jax.eval_shape(
        lambda: (fcnet.init(jax.random.key(0), sizes), jnp.zeros(sizes[0]), jnp.zeros(sizes[-1]))
    )
