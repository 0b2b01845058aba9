"""The problem that most tests of the trainer share."""

import jax
import jax.numpy as jnp
import pytest

import fcnet


@pytest.fixture
def problem(key):
    """A network of 5 hidden units, and 23 examples: no multiple of a batch of 6."""
    X = jax.random.normal(key, (23, 4))
    return fcnet.init(key, (4, 5, 1)), X, jnp.abs(X[:, :1]) - X[:, 1:2]
