"""A network with all it takes to predict from the columns of a file, in one safetensors file."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from fcnet import interchange
from fcnet.activations import get_activation
from fcnet.checks import as_examples
from fcnet.data import Standardizer, standardize, unstandardize
from fcnet.losses import get_loss
from fcnet.network import forward
from fcnet.tables import Column, Feature, encode
from fcnet.types import Params

VERSION = 1
"""The version of the text that `save_model` stores beside the parameters."""


class TableModel(NamedTuple):
    """A network, the features it takes, and how inputs and targets are brought to one scale.

    `classes` are the values of a target that is a category, empty for one of numbers. `activation`
    and `loss` are names of the tables.
    """

    params: Params
    features: tuple[Feature, ...]
    inputs: Standardizer
    target: str
    targets: Standardizer
    classes: tuple[str, ...]
    activation: str
    loss: str


def inputs_of(
    features: tuple[Feature, ...], columns: Mapping[str, Column]
) -> Float[np.ndarray, "n d"]:
    """The inputs of examples in columns, not yet standardised.

    Raises:
        ValueError: for a column that is not there, or entries that a feature does not take.

    >>> inputs_of((Feature("sqft", None),), {"sqft": np.array([800.0])}).tolist()
    [[800.0]]
    """
    for name, _, _ in features:
        if name not in columns:
            raise ValueError(f"no column {name!r}; the columns are {', '.join(columns)}")
    return np.column_stack([encode(feature, columns[feature.name]) for feature in features])


def means(model: TableModel, columns: Mapping[str, Column]) -> Float[np.ndarray, "n m_r"]:
    """The mean of the target for each example, in its own units; for classes, their probabilities.

    Raises:
        ValueError: as `inputs_of`.
    """
    W = model.params[0].W
    scaled = standardize(model.inputs, inputs_of(model.features, columns))
    X = as_examples("the standardised inputs", scaled, W.shape[1], W.dtype)
    o = _outputs(model.params, X, activation=model.activation)
    return unstandardize(model.targets, jax.vmap(get_loss(model.loss).mean)(o))


def predict(model: TableModel, columns: Mapping[str, Column]) -> Column:
    """The prediction for each example, shape (n,): a number, or the likeliest class.

    Args:
        model: of `load_model`.
        columns: arrays of shape (n,) by name, with those the features are made of; others are
            not looked at.

    Raises:
        ValueError: for a column that is not there, a missing entry that nothing stands for, or a
            category with a value that no training example had.

    >>> from fcnet.data import unscaled
    >>> line = TableModel(interchange.params_of([(np.ones((1, 1)), np.ones(1))]),
    ...     (Feature("sqft", None),), unscaled(1), "price", unscaled(1), (), "relu",
    ...     "squared_error")
    >>> predict(line, {"sqft": np.array([2.0])}).tolist()
    [3.0]
    """
    mean = means(model, columns)
    return np.array(model.classes)[mean.argmax(axis=1)] if model.classes else mean[:, 0]


@partial(jax.jit, static_argnames="activation")
def _outputs(params: Params, X: jax.Array, *, activation: str) -> jax.Array:
    return jax.vmap(partial(forward, params, activation=activation))(X)


def save_model(path: Path, model: TableModel) -> None:
    """Write a model as a safetensors file, whole or not at all; needs the extra `checkpoint`."""
    text = {
        "version": VERSION,
        "features": [feature._asdict() for feature in model.features],
        "inputs": [array.tolist() for array in model.inputs],
        "target": model.target,
        "targets": [array.tolist() for array in model.targets],
        "classes": model.classes,
        "activation": model.activation,
        "loss": model.loss,
    }
    interchange.save(path, model.params, {"fcnet_model": json.dumps(text)})


def load_model(path: Path) -> TableModel:
    """The model of a file of `save_model`; nothing in it is executed.

    Args:
        path: the file, or the folder of `fcnet train --out`.

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for a file that is no such model, or one of a later version.
    """
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    params, stored = interchange.load(path)
    try:
        text = json.loads(stored["fcnet_model"])
        if text["version"] != VERSION:
            raise ValueError(f"version {text['version']}, this program reads version {VERSION}")
        model = TableModel(
            params,
            tuple(_feature(**feature) for feature in text["features"]),
            Standardizer(*map(np.array, text["inputs"])),
            text["target"],
            Standardizer(*map(np.array, text["targets"])),
            tuple(text["classes"]),
            get_activation(text["activation"]).name,
            get_loss(text["loss"]).name,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no model of fcnet train: {error}") from error
    return model


def _feature(name: str, values: list[str] | None, fill: float | str | None) -> Feature:
    return Feature(name, None if values is None else tuple(values), fill)
