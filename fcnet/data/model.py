"""A network with the features and scales of its table, stored in one safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

import fcnet.interchange as interchange
from fcnet.activations import get_activation
from fcnet.checks import as_examples
from fcnet.data.preprocess import Standardizer, standardize, unstandardize
from fcnet.data.schema import Column, Feature, encode
from fcnet.losses import get_loss
from fcnet.network import outputs
from fcnet.types import Params

MODEL_VERSION = 1
"""The version of the text that `save_model` stores beside the parameters."""


class TableModel(NamedTuple):
    """A network, the features that it takes, and the scales of inputs and targets.

    `classes` are the values of a target that is a category, and empty for numbers. `activation` and
    `loss` are names of rows of the tables, as the file stores them.
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
    """The inputs of the examples in these columns, before they are standardised.

    Raises:
        ValueError: for a missing column, or entries that a feature does not take.

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
    o = outputs(model.params, X, activation=model.activation)
    return unstandardize(model.targets, jax.vmap(get_loss(model.loss).mean)(o))


def predict(model: TableModel, columns: Mapping[str, Column]) -> Column:
    """The prediction for each example, shape (n,): a number, or the most probable class.

    Args:
        model: of `load_model`.
        columns: arrays of shape (n,) by name, with the columns of the model's features; others are
            ignored.

    Raises:
        ValueError: for a missing column, a missing entry of a feature without a fill, or a value of
            a category that no training example had.

    >>> from fcnet.data.preprocess import unscaled
    >>> line = TableModel(interchange.params_of([(np.ones((1, 1)), np.ones(1))]),
    ...     (Feature("sqft", None),), unscaled(1), "price", unscaled(1), (), "relu",
    ...     "squared_error")
    >>> predict(line, {"sqft": np.array([2.0])}).tolist()
    [3.0]
    """
    mean = means(model, columns)
    return np.array(model.classes)[mean.argmax(axis=1)] if model.classes else mean[:, 0]


def save_model(path: Path, model: TableModel) -> None:
    """Write a model to a safetensors file. Needs the extra `checkpoint`."""
    text = {
        "version": MODEL_VERSION,
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
    """The model in a file of `save_model`. Nothing in the file is executed.

    Args:
        path: the file, or the folder of `fcnet train --out`.

    Raises:
        OSError: if the file cannot be read.
        ValueError: for a file that is not such a model, or has another version.
    """
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    params, stored = interchange.load(path)
    try:
        text = json.loads(stored["fcnet_model"])
        if text["version"] != MODEL_VERSION:
            raise ValueError(
                f"version {text['version']}, this program reads version {MODEL_VERSION}"
            )
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
        raise ValueError(f"{path} is not a model of fcnet train: {error}") from error
    return model


def _feature(name: str, values: list[str] | None, fill: float | str | None) -> Feature:
    return Feature(name, None if values is None else tuple(values), fill)
