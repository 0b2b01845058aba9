"""One valid call of functions of the public modules, by keyword."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow

from fcnet import History, data, interchange, notes, plot
from support.problems import Case, problem
from support.stored_files import FILES

Calls = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


def _notes() -> dict[str, dict[str, Any]]:
    params, X, Y = problem(Case((3, 2, 1), n=4))
    (W, b), _ = params
    x, y = X[0], Y[0, 0]
    theta, houses = jnp.arange(12.0) / 12, jnp.arange(8.0).reshape(2, 4)
    rows = notes.to_row_params(params)
    neuron = {"w": W[0], "b": b[0], "x": x}
    quadratic = {"theta": jnp.ones(3), "x": x}
    return {
        "affine_columns": {"W": W, "b": b, "X": X.T},
        "as_column": {"x": x},
        "backprop_columns": {"params": params, "X": X.T, "Y": Y.T, "activation": "tanh"},
        "forward_columns": {"params": params, "X": X.T, "activation": "tanh"},
        "repeat_bias": {"b": b, "n": 3},
        "to_columns": {"X": X},
        "gradient_costs": {"sizes": (3, 2, 1)},
        "house_gradient": {"theta": theta, "X": houses, "Y": jnp.ones(2)},
        "house_network": {"theta": theta, "x": houses[0]},
        "house_to_dense": {"theta": theta},
        "collapse": {"params": params},
        "fit_head_least_squares": {"params": params, "X": X, "Y": Y, "activation": "tanh"},
        "kink": {"w": W[0, 0], "b": b[0], "x": x[0]},
        "one_neuron": neuron,
        "one_neuron_loss": {**neuron, "y": y},
        "one_neuron_gradients": {**neuron, "y": y},
        "affine_rows": {"X": X, "W": W.T, "b": b},
        "backprop_rows": {"params": rows, "X": X, "Y": Y, "activation": "tanh"},
        "forward_rows": {"params": rows, "X": X, "activation": "tanh"},
        "from_row_params": {"params": rows},
        "to_row_params": {"params": params},
        "to_rows": {"X": X.T},
        "linear_model": quadratic,
        "toy_quadratic": quadratic,
        "toy_quadratic_gradient": {"theta": jnp.ones(3), "X": X, "Y": Y[:, 0]},
        "backprop_two_layer": {"params": params, "x": x, "y": y},
        "backprop_two_layer_scalars": {"params": params, "x": x, "y": y},
        "naive_two_layer_gradient": {"params": params, "x": x, "y": y},
        "two_layer_loss": {"params": params, "x": x, "y": y},
        "affine": {"W": W, "b": b, "x": x},
        "affine_loop": {"W": W, "b": b, "x": x},
        "stack_weights": {"weights": [W[0], W[1]]},
        "two_layer": {"params": params, "x": x},
        "two_layer_loop": {"params": params, "x": x},
        "activation_vjp": {"z": x, "dJ_da": x, "activation": "tanh"},
        "affine_vjp": {"W": W, "u": x, "dJ_dz": b},
        "chain_rule": {"dJ_dg": b, "dg_dtheta": W},
    }


def _plot() -> dict[str, dict[str, Any]]:
    params, X, Y = problem(Case((2, 2, 1), n=4))
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf / 2]), params)
    losses = np.array([2.0, 1.0])
    return {
        "ensemble_band": {"params": members, "X": X, "Y": Y, "along": 0, "activation": "tanh"},
        "history": {"history": History(np.arange(2.0), losses, losses, losses, losses)},
        "kink": {"size": np.arange(3.0), "price": np.arange(3.0), "w": 1.0, "b": 0.0},
        "loss_curve": {"steps": np.arange(2), "losses": {"a": losses}},
        "prediction": {"truth": losses, "predictions": {"a": losses}},
        "agreement": {"errors": {"a": [(1.0, 0.1), (0.1, 0.01)]}},
        "gradient_norms": {"networks": {"a": params}, "X": X, "Y": Y, "activation": "tanh"},
        "pre_activations": {"params": params, "X": X, "activation": "tanh"},
        "network": {"params": params, "names": None},
        "surface": {"params": params, "X": X, "Y": Y, "level": 0.5, "activation": "tanh"},
        "surfaces": {"networks": {"a": params}, "X": X, "Y": Y, "activation": "tanh"},
    }


def _data() -> dict[str, dict[str, Any]]:
    columns = {"a": pyarrow.array(["1", "2", "4"]), "y": pyarrow.array(["1", "3", "2"])}
    X = np.arange(6.0).reshape(3, 2) ** 2
    scales = data.fit_standardizer(X)
    file = data.in_memory(data.Table(columns, 3))
    return {
        "learn_schema": {
            **{"file": file, "target": "y", "features": ("a",), "categories": (), "given": None},
            **{"missing": "error", "loss": "squared_error"},
        },
        "make_examples": {"schema": data.learn_schema(file, "y"), "file": file},
        "fit_standardizer": {"X": X},
        "standardize": {"standardizer": scales, "X": X},
        "unstandardize": {"standardizer": scales, "X": X},
        "as_dataset": {
            "columns": {"a": np.arange(3.0), "y": np.arange(3.0)},
            "features": ["a"],
            "target": "y",
        },
        "load_model": {"path": FILES},
        "read_table": {
            "path": FILES / "table.csv",
            **dict.fromkeys(("separator", "decimal", "encoding")),
        },
        "read_schema": {"path": FILES / "schema.json"},
    }


def _interchange() -> dict[str, dict[str, Any]]:
    params, _, _ = problem(Case((3, 2, 1)))
    return {
        "params_of": {"model": params, "activation": "tanh", "output_activation": "identity"},
        "with_params": {"model": params, "params": params, "activation": "tanh"},
        "load": {"path": FILES / "model.safetensors"},
    }


@cache
def room_calls() -> Calls:
    """The functions and the arguments of a valid call."""
    rooms = {notes: _notes(), plot: _plot(), data: _data(), interchange: _interchange()}
    return {
        f"{room.__name__}.{name}": (getattr(room, name), call)
        for room, calls in rooms.items()
        for name, call in calls.items()
    }
