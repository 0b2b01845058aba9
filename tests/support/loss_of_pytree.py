"""A loss of parameters in a pytree, and its gradient by hand."""

import jax.numpy as jnp
import numpy as np


def function(params, x, y, scale=1.0):
    """A loss with parameters in a dict of several kinds: arrays, a scalar, an integer and None."""
    hidden = jnp.tanh(params["W"] @ x + params["layers"][0]["b"])
    out = params["layers"][1] @ hidden + params["shift"] * params["times"]
    return scale * jnp.sum((out - y) ** 2) / 2


def arguments(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return np.asarray(rng.normal(size=shape), dtype)

    params = {
        "W": draw(3, 3),
        "layers": [{"b": draw(3), "nothing": None}, draw(2, 3)],
        "shift": draw(),
        "times": np.int32(3),
    }
    return params, draw(3), draw(2)


def by_hand(params, x, y, scale=1.0):
    """The gradient with respect to params, in the dtype of its arrays."""
    W, b, V = params["W"], params["layers"][0]["b"], params["layers"][1]
    number = W.dtype.type
    hidden = np.tanh(W @ x + b)
    out = V @ hidden + params["shift"] * number(params["times"])
    delta = (out - y) * number(scale)
    below = (V.T @ delta) * (number(1) - hidden * hidden)
    shift = np.asarray(delta.sum() * number(params["times"]))
    return {
        "W": np.outer(below, x).astype(W.dtype),
        "layers": [
            {"b": below.astype(W.dtype), "nothing": None},
            np.outer(delta, hidden).astype(W.dtype),
        ],
        "shift": shift.astype(W.dtype),
        "times": None,
    }
