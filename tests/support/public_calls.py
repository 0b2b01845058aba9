"""One valid call of every public function, by keyword, for tests that transform or break it."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

import fcnet
from support.problems import Case, problem

PURE = [
    name
    for name in dir(fcnet)
    if inspect.isfunction(value := getattr(fcnet, name))
    and value.__module__.count(".") == 1  # a file of the core, not of a wing
    and not name.startswith("count_")
]
"""The public functions of arrays, which JAX can transform: those of the core, but for counts."""

ARRAYS = {"params", "x", "y", "X", "Y", "weights", "trace", "delta", "key", "learning_rate"}
"""The arguments that may be traced; the others are Python's own values."""


def print_nothing(step: int, history: Any) -> None:
    """A progress function that does nothing."""


def good_calls(seed: int = 0) -> dict[str, dict[str, Any]]:
    """The arguments of a valid call, for each public function."""
    params, X, Y = problem(Case((3, 2, 2), n=4, seed=seed))
    x, y, key = X[0], Y[0], jax.random.key(seed)
    sigmas = {"activation": "tanh", "output_activation": "sigmoid"}
    choices = {**sigmas, "loss": "logistic"}
    trace = fcnet.forward_trace(params, x, **sigmas)
    delta = fcnet.deltas(params, trace, y, **choices)
    weights = abs(X[:, 0])
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf / 2]), params)
    training = {
        **{"params": params, "X": X, "Y": Y, "key": key, "weights": weights, **choices},
        **{"output_activation": "identity", "optimizer": "adam"},
        **{"hyperparameters": {"learning_rate": 0.1}},
        **{"gradient": "backprop", "sampling": "algorithm2", "batch_size": 2, "steps": 3},
        **{"validation": 0.25, "evaluate_every": 3, "precision": "float32"},
    }
    descent = {"params": params, "X": X, "Y": Y, "learning_rate": 0.1, "steps": 3}
    return {
        "init": {"key": key, "sizes": (3, 2, 2), "dtype": None},
        "count_params": {"sizes": (3, 2, 2)},
        "count_neurons": {"sizes": (3, 2, 2)},
        "forward": {"params": params, "x": x, **sigmas},
        "batch_forward": {"params": params, "X": X, **sigmas},
        "forward_trace": {"params": params, "x": x, **sigmas},
        "features": {"params": params, "x": x, "activation": "tanh"},
        "example_loss": {"params": params, "x": x, "y": y, **choices},
        "mean_loss": {"params": params, "X": X, "Y": Y, "weights": weights, **choices},
        "deltas": {"params": params, "trace": trace, "y": y, **choices},
        "gradients": {"delta": delta, "trace": trace},
        "backprop": {"params": params, "x": x, "y": y, **choices},
        "batch_backprop": {"params": params, "X": X, "Y": Y, "weights": weights, **choices},
        "per_example_gradients": {
            **{"params": params, "X": X, "Y": Y, "chunk": 3, "keep": None},
            **choices,
        },
        "sample_batch": {"key": key, "n": 9, "batch_size": 4},
        "gradient_descent": {**descent, "gradient": fcnet.batch_backprop},
        "sgd": {**descent, "key": key, "gradient": fcnet.batch_backprop},
        "minibatch_sgd": {
            **descent,
            "key": key,
            "batch_size": 2,
            "gradient": fcnet.batch_backprop,
        },
        "fit": {
            **training,
            **{"patience": 5, "progress": print_nothing, "opt_state": None},
            **{"checkpoint": None, "resume": False},
            "mesh": None,
        },
        "sweep": {**training, "params": members, "progress": abs},
        "ensemble": {"params": members, "X": X, **sigmas},
        "check": {
            **{"backward": fcnet.backprop, "params": params, "x": x, "y": y, **choices},
            **{"reduction": "mean", "weight_layout": None, "example_axis": None, "key": key},
        },
    }
