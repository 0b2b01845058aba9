"""Models of `fcnet train` in ONNX: from the cells of a row to the prediction."""

from collections.abc import Iterator

import numpy as np

from fcnet.activations import get_activation
from fcnet.data.cells import number_marks
from fcnet.data.model import TableModel, scales
from fcnet.data.schema import Field
from fcnet.files import AnyPath
from fcnet.losses import get_loss
from fcnet.onnx_graph import OPERATIONS, Graph, Value, network, write

DOUBLE = 11
"""The number that ONNX gives to float64."""


def to_onnx(path: AnyPath, model: TableModel) -> None:
    """Write a model of a table to an ONNX file, with its schema: all that `predict` does.

    Each feature is an input of shape (n, 1) with the column's name: float64 for a number, and text
    for a category. A missing number is NaN, or a mark that is a number. A date is its number of
    days since 1970-01-01. The target's name is that of the prediction, shape (n,): float64 in its
    unit, or the text of a label, beside which `NAME.probabilities` are, shape (n, m_r), in the
    order of `target.values`.
    ONNX raises no errors of its own: where `predict` would refuse an unknown value, or a missing
    one, the prediction is NaN, or the empty text.

    Args:
        path: the file; an earlier one is replaced.
        model: of `load_model`.

    Raises:
        ModuleNotFoundError: without onnx, of the extra `onnx`.
        OSError: if the file cannot be written.
        ValueError: for a column without a name, or with that of the probabilities.
    """
    name, m = model.target.name, model.params[-1].b.shape[0]
    probabilities = f"{name}.probabilities"
    for field in model.features:
        if field.name in ("", probabilities):
            raise ValueError(
                f"a column is called {field.name!r}, which ONNX cannot tell from others: call it "
                "something else in the file to train on"
            )
    dtype = model.params[0].W.dtype
    kind = 1 if dtype == np.float32 else DOUBLE
    columns = Graph((), {})
    for i, field in enumerate(model.features):
        columns = columns.then(_inputs(i, field))
    every = range(len(model.features))
    mean, scale = scales(model.features)
    standardised = Graph(
        (
            f"inputs = Concat<axis = 1>({', '.join(f'u{i}' for i in every)})",
            f"unknowns = Concat<axis = 1>({', '.join(f'unknown{i}' for i in every)})",
            "unknown = ReduceMax<keepdims = 1>(unknowns, columns)",
            "centred = Sub(inputs, mean) standardised = Div(centred, scale)",
            f"a0 = Cast<to = {kind}>(standardised)",
        ),
        {"mean": mean[None], "scale": scale[None], "columns": np.array([1])},
    )
    identity = get_activation("identity")
    layers = network(model.params, get_activation(model.activation), identity)
    graph = columns.then(standardised).then(layers).then(_targets(model))
    results = [Value(name, "prediction", np.float64, ("n",))]
    if not model.target.is_number:
        results = [
            Value(name, "label", np.object_, ("n",)),
            Value(probabilities, "means", np.float64, ("n", m)),
        ]
    inputs = [
        Value(field.name, f"c{i}", np.float64 if field.is_number else np.object_, ("n", 1))
        for i, field in enumerate(model.features)
    ]
    write(path, graph, inputs, results)


def _inputs(i: int, field: Field) -> Graph:
    """The inputs u of column i, of its cells c, and whether the cell is unknown: 1 or 0."""
    if field.is_number:
        fill = np.nan if field.fill is None else float(field.fill)
        marks = [np.nan, *number_marks(field.missing)]  # NaN equals nothing
        return Graph(
            (
                f"equal{i} = Equal(c{i}, marks{i}) found{i} = Cast<to = {DOUBLE}>(equal{i})",
                f"most{i} = ReduceMax<keepdims = 1>(found{i}, columns)",
                f"mark{i} = Cast<to = 9>(most{i}) gap{i} = IsNaN(c{i})",
                f"missing{i} = Or(gap{i}, mark{i}) u{i} = Where(missing{i}, fill{i}, c{i})",
                f"left{i} = IsNaN(u{i}) unknown{i} = Cast<to = {DOUBLE}>(left{i})",
            ),
            {f"fill{i}": np.array([[fill]]), f"marks{i}": np.array([marks])},
        )
    pairs = list(_texts(field))
    texts = np.array([[text for text, _ in pairs]], dtype=object)
    means = np.array([[float(j == k) for k in range(len(field.values))] for _, j in pairs])
    return Graph(
        (
            f"equal{i} = Equal(c{i}, texts{i}) found{i} = Cast<to = {DOUBLE}>(equal{i})",
            f"u{i} = MatMul(found{i}, means{i})",
            f"known{i} = ReduceSum<keepdims = 1>(u{i}, columns) unknown{i} = Sub(one, known{i})",
        ),
        {f"texts{i}": texts, f"means{i}": means, "one": np.array([[1.0]])},
    )


def _texts(field: Field) -> Iterator[tuple[str, int]]:
    """The texts of a category, each with the number of its value: a missing one has all marks."""
    for k, value in enumerate(field.values):
        for text in {"", *field.missing} if value == "" else {value}:
            yield text, k


def _targets(model: TableModel) -> Graph:
    """The target's means in its unit, of the outputs, and its prediction or its label."""
    mean, scale = scales((model.target,))
    lines = (
        OPERATIONS[get_loss(model.loss).mean].format(a="m", z="outputs"),
        f"wide = Cast<to = {DOUBLE}>(m) sized = Mul(wide, target_scale)",
        "whole = Add(sized, target_mean) is_unknown = Cast<to = 9>(unknown)",
        "means = Where(is_unknown, nan, whole)",
    )
    tensors = {
        "target_mean": mean[None],
        "target_scale": scale[None],
        "nan": np.array([[np.nan]]),
    }
    if model.target.is_number:
        return Graph((*lines, "prediction = Squeeze(means, columns)"), tensors)
    last = (
        "best = ArgMax<axis = 1, keepdims = 0>(whole) chosen = Gather(values, best)",
        "flat = Squeeze(is_unknown, columns) label = Where(flat, empty, chosen)",
    )
    tensors["values"] = np.array(model.target.values, dtype=object)
    tensors["empty"] = np.array([""], dtype=object)
    return Graph((*lines, *last), tensors)
