"""The two-layer gradients under test, and Algorithm 4 with planted faults."""

from collections.abc import Callable

import jax.numpy as jnp
import pytest
from jax import Array

from fcnet import Layer, Params
from fcnet.notes import backprop_two_layer, backprop_two_layer_scalars, naive_two_layer_gradient

ALGORITHMS = {
    "naive": naive_two_layer_gradient,
    "Algorithm 3": backprop_two_layer_scalars,
    "Algorithm 4": backprop_two_layer,
}
each_algorithm = pytest.mark.parametrize("gradient", ALGORITHMS.values(), ids=ALGORITHMS)


def algorithm_4(
    *,
    error: Callable = lambda o, y: o - y,
    mask: Callable = lambda z, a: z >= 0,
    back: Callable = lambda W2, delta2: W2[0] * delta2[0],
    dW1: Callable = jnp.outer,
    dW2: Callable = jnp.outer,
    db: Callable = lambda delta: delta,
) -> Callable:
    """Algorithm 4 with each expression replaceable."""

    def gradient(params: Params, x: Array, y: Array) -> Params:
        (W1, b1), (W2, b2) = params
        z = W1 @ x + b1
        a = jnp.maximum(z, 0)
        delta2 = error(W2 @ a + b2, y)
        delta1 = back(W2, delta2) * mask(z, a)
        return Layer(dW1(delta1, x), db(delta1)), Layer(dW2(delta2, a), db(delta2))

    return gradient


WRONG = {
    "(z - o) for (o - y)": algorithm_4(error=lambda o, y: o - o),
    "sign": algorithm_4(error=lambda o, y: y - o),
    "no 1/2 in the loss": algorithm_4(error=lambda o, y: 2 * (o - y)),
    "no mask": algorithm_4(mask=lambda z, a: z == z),
    "mask of a": algorithm_4(mask=lambda z, a: a >= 0),
    "mask turned around": algorithm_4(mask=lambda z, a: z < 0),
    "no w2": algorithm_4(back=lambda W2, delta2: delta2[0] * jnp.ones(W2.shape[1])),
    "x and delta swapped": algorithm_4(dW1=lambda delta1, x: jnp.outer(x, delta1)),
    "dW2 as a column": algorithm_4(dW2=lambda delta2, a: jnp.outer(a, delta2)),
    "no db": algorithm_4(db=jnp.zeros_like),
    "db as a column": algorithm_4(db=lambda delta: delta[:, None]),
}
STRICT = algorithm_4(mask=lambda z, a: z > 0)
