"""A network with the schema of its table, stored in one safetensors file."""

import json
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

import fcnet.interchange as interchange
from fcnet.activations import get_activation
from fcnet.checks import as_examples, check_type
from fcnet.data.cells import one_hot
from fcnet.data.parts import aligned_rows
from fcnet.data.preprocess import Standardizer, standardize, unstandardize
from fcnet.data.read import Table, place_of
from fcnet.data.schema import KINDS, Field, encode, interpret, is_missing
from fcnet.files import AnyPath, as_path
from fcnet.losses import get_loss
from fcnet.network import batch_forward
from fcnet.rowwise import AT_ONCE, by_rows
from fcnet.text import from_json
from fcnet.types import Params

MODEL_VERSION = 2
"""The version of the text that `save_model` stores beside the parameters."""


class TableModel(NamedTuple):
    """A network and the schema of its table: what each feature and the target is.

    `features` are the columns that the network takes, in the order of its inputs. `activation` and
    `loss` are names of rows of the tables, as the file stores them.
    """

    params: Params
    features: tuple[Field, ...]
    target: Field
    activation: str
    loss: str


def scales(fields: tuple[Field, ...]) -> Standardizer:
    """The means and the scales of the inputs of these columns, in their order.

    >>> scales((Field("a", "number", mean=(1.0,), scale=(2.0,)),))
    Standardizer(mean=array([1.]), scale=array([2.]))
    """
    mean = [mean for field in fields for mean in field.mean]
    return Standardizer(np.array(mean), np.array([s for field in fields for s in field.scale]))


def with_scales(fields: tuple[Field, ...], standardizer: Standardizer) -> tuple[Field, ...]:
    """The columns with the means and the scales of their inputs, the inverse of `scales`."""
    ends = np.cumsum([len(field.inputs) for field in fields])[:-1]
    means, sizes = (np.split(array, ends) for array in standardizer)
    return tuple(
        field._replace(mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))
        for field, mean, scale in zip(fields, means, sizes, strict=True)
    )


def inputs_of(fields: tuple[Field, ...], table: Table) -> Float[np.ndarray, "n d"]:
    """The inputs of the rows of a table, before they are standardised.

    Raises:
        ValueError: for a missing column, or a cell that its field does not take, with its place.

    >>> import pyarrow
    >>> inputs_of((Field("sqft", "number"),), Table({"sqft": pyarrow.array(["800"])}, 1)).tolist()
    [[800.0]]
    """

    def place(k: int) -> str:
        return table.place(table.first + k)

    return np.hstack([encode(field, interpret(field, table), place) for field in fields])


def targets_of(model: TableModel, table: Table) -> Float[np.ndarray, "n m_r"] | None:
    """The targets of the rows of a table, in their own units; None if one is missing or no target.

    A label that the network does not know has a row of 0.
    """
    field = model.target
    if field.name not in table.columns:
        return None
    try:
        # A line's number, which takes long to find, would not be read.
        values = interpret(field, table._replace(place=place_of))
    except ValueError:  # of a cell that is no target
        return None
    if is_missing(values).any():
        return None
    return values[:, None] if field.is_number else one_hot(values, field.values)


def means(model: TableModel, X: Float[ArrayLike, "n d"]) -> Float[np.ndarray, "n m_r"]:
    """The mean of the target for each row of inputs, in its own units; for labels, probabilities.

    Args:
        model: a network on a table.
        X: inputs, before they are standardised.
    """
    return scaled_means(model, standardize(scales(model.features), X))


def scaled_means(model: TableModel, X: Float[ArrayLike, "n d"]) -> Float[np.ndarray, "n m_r"]:
    """`means` of standardised inputs. The activations of `AT_ONCE` rows are in memory."""
    W, loss = model.params[0].W, get_loss(model.loss)
    X = np.asarray(X)
    found = aligned_rows(len(X), len(model.target.inputs), np.float64)[: len(X)]
    for begin in range(0, len(X), AT_ONCE):
        part = X[begin : begin + AT_ONCE]
        inputs = as_examples("the standardised inputs", part, W.shape[1], W.dtype)
        o = batch_forward(model.params, inputs, activation=model.activation)
        mean = by_rows(jax.vmap(loss.mean), o)
        found[begin : begin + AT_ONCE] = unstandardize(scales((model.target,)), mean)
    return found


def predict(model: TableModel, table: Table) -> np.ndarray:
    """The prediction for each row of a table, shape (n,): a number, or the most probable label.

    A label is the text that stood in the file of the training examples.

    Args:
        model: of `load_model`.
        table: with the columns of the model's features; others are ignored.

    Raises:
        ValueError: for a missing column, a missing entry of a feature without a fill, or a cell
            that is no number, or no value of its category, with its place.

    >>> import pyarrow
    >>> field = Field("sqft", "number", mean=(0.0,), scale=(1.0,))
    >>> line = TableModel(interchange.params_of([(np.ones((1, 1)), np.ones(1))]), (field,),
    ...     field._replace(name="price"), "relu", "squared_error")
    >>> predict(line, Table({"sqft": pyarrow.array(["2"])}, 1)).tolist()
    [3.0]
    """
    check_type("table", table, Table, "a Table of read_table")
    return predictions(model, means(model, inputs_of(model.features, table)))


def predictions(model: TableModel, mean: Float[np.ndarray, "n m_r"]) -> np.ndarray:
    """The predictions of these means, shape (n,): numbers, or the most probable labels."""
    if model.target.is_number:
        return mean[:, 0]
    return np.array(model.target.values, dtype=object)[mean.argmax(axis=1)]


def save_model(path: AnyPath, model: TableModel) -> None:
    """Write a model to a safetensors file. Needs the extra `checkpoint`.

    Args:
        path: the file; an earlier one is replaced.
        model: a network on a table.

    Raises:
        ModuleNotFoundError: without safetensors.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "line.safetensors"
    >>> field = Field("sqft", "number", mean=(0.0,), scale=(1.0,))
    >>> line = TableModel(interchange.params_of([(np.ones((1, 1)), np.ones(1))]), (field,),
    ...     field._replace(name="price"), "relu", "squared_error")
    >>> save_model(file, line)
    >>> load_model(file).features == line.features
    True
    """
    text = {
        "version": MODEL_VERSION,
        "features": [field._asdict() for field in model.features],
        "target": model.target._asdict(),
        "activation": model.activation,
        "loss": model.loss,
    }
    interchange.save(path, model.params, {"fcnet_model": json.dumps(text)})


def load_model(path: AnyPath) -> TableModel:
    """The model in a file of `save_model`. Nothing in the file is executed.

    Args:
        path: the file, or the folder of `fcnet train --out`.

    Raises:
        ModuleNotFoundError: without safetensors.
        OSError: if the file cannot be read.
        ValueError: for a file that is not such a model, or has another version; for a folder
            without one.
    """
    path = as_path(path)
    if path.is_dir():
        folder, path = path, path / "model.safetensors"
        if not path.exists():
            raise ValueError(
                f"{folder} holds no model.safetensors. If a run is unfinished there, continue it"
            )
    params, stored = interchange.load(path)
    try:
        text = from_json(stored["fcnet_model"])
        if text["version"] == 1:
            raise ValueError(
                "an earlier version wrote it, which did not store what each column is, so that a "
                "code such as 07 was read as 7: train it again"
            )
        if text["version"] != MODEL_VERSION:
            raise ValueError(
                f"version {text['version']}, this program reads version {MODEL_VERSION}"
            )
        model = TableModel(
            params,
            tuple(_field(stored) for stored in text["features"]),
            _field(text["target"]),
            get_activation(text["activation"]).name,
            get_loss(text["loss"]).name,
        )
        _check_widths(model.features, params[0].W.shape[1])
        _check_widths((model.target,), params[-1].W.shape[0])
    except KeyError as error:
        raise ValueError(f"{path} is not a model of fcnet train: it has no {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a model of fcnet train: {error}") from error
    return model


def _check_widths(fields: tuple[Field, ...], width: int) -> None:
    """Raise unless the columns have as many numbers as the network takes, or returns."""
    kinds = {field.kind for field in fields} - set(KINDS)
    found = {tuple(map(len, (field.inputs, field.mean, field.scale))) for field in fields}
    total = sum(len(field.inputs) for field in fields)
    if kinds or any(len(set(lengths)) > 1 for lengths in found) or total != width:
        raise ValueError(f"its columns {[field.name for field in fields]} do not fit its network")


def _field(stored: dict[str, object]) -> Field:
    """A field of JSON, which has lists for tuples."""
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    return Field(**values)
