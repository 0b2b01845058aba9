"""Networks written for ONNX, run by ONNX's own evaluator, and by onnxruntime where it is there."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import Case, problem

import fcnet
from fcnet import data, interchange
from fcnet.cli import main
from fcnet.data import Field, Table, TableModel

pytest.importorskip("onnx")
pyarrow = pytest.importorskip("pyarrow")

Run = Callable[[Path, dict[str, np.ndarray]], list[Any]]


def by_reference(path: Path, inputs: dict[str, np.ndarray]) -> list[Any]:
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(str(path)).run(None, inputs))


def by_runtime(path: Path, inputs: dict[str, np.ndarray]) -> list[Any]:
    import onnxruntime

    return list(onnxruntime.InferenceSession(str(path)).run(None, inputs))


@pytest.fixture(
    params=[
        by_reference,
        pytest.param(
            by_runtime,
            marks=pytest.mark.skipif(find_spec("onnxruntime") is None, reason="no onnxruntime"),
        ),
    ]
)
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


@pytest.mark.parametrize("name", fcnet.ACTIVATIONS)
def test_each_activation_computes_what_forward_does(run: Run, name: str, tmp_path: Path) -> None:
    params, X, _ = problem(Case((5, 4, 3, 2), n=9), np.float32)
    asked = {"activation": name, "output_activation": name}
    interchange.to_onnx(tmp_path / "network.onnx", params, **asked)
    (o,) = run(tmp_path / "network.onnx", {"X": np.asarray(X)})
    expected = jax.vmap(lambda x: fcnet.forward(params, x, **asked))(X)
    np.testing.assert_allclose(o, expected, rtol=1e-5, atol=1e-6)
    for other in set(fcnet.ACTIVATIONS) - {name}:
        wrong = jax.vmap(lambda x, other=other: fcnet.forward(params, x, activation=other))(X)
        assert abs(o - wrong).max() > 1e-4


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "silu", "identity"])
def test_double_precision_is_kept(run: Run, name: str, tmp_path: Path) -> None:
    """With all activations that onnxruntime has in double precision."""
    params, X, _ = problem(Case((5, 4, 2), n=9), np.float64)
    interchange.to_onnx(tmp_path / "network.onnx", params, activation=name)
    (o,) = run(tmp_path / "network.onnx", {"X": np.asarray(X)})
    assert o.dtype == np.float64
    expected = jax.vmap(lambda x: fcnet.forward(params, x, activation=name))(X)
    np.testing.assert_allclose(o, expected, rtol=1e-12)


@pytest.mark.untyped
def test_an_activation_of_one_s_own_is_refused(tmp_path: Path) -> None:
    mine = fcnet.Activation("relu", jnp.sin, jnp.cos)
    with pytest.raises(ValueError, match="no operation that is known to be 'relu': expected a row"):
        interchange.to_onnx(tmp_path / "file", [(np.eye(2), np.zeros(2))], activation=mine)
    assert not [*tmp_path.iterdir()]


FEATURES = (
    Field("size", "number", mean=(1.7e9,), scale=(40.0,)),  # too large for single precision
    Field("mean", "number", missing=("", "?", "-9"), fill=3.0, mean=(2.5,), scale=(1.5,)),
    Field("zip code", "category", ("07", "7"), mean=(0.5, 0.5), scale=(0.5, 1.0)),
    Field("u0", "category", ("", "a", "b"), missing=("", "-"), fill="", mean=(0.0,) * 3,
          scale=(1.0,) * 3),
    Field("sold", "date", mean=(18_000.0,), scale=(500.0,)),
)  # fmt: skip
CELLS = {
    "size": ["1700000010", "1700000050", "1699999990", "1700000000"],
    "mean": ["4.5", "?", "-9.0", ""],
    "zip code": ["07", "7", "7", "07"],
    "u0": ["a", "-", "", "b"],
    "sold": ["2020-01-31", "2019-05-05", "2021-12-01", "2018-02-03"],
}
TARGETS = {
    "squared_error": Field("price", "number", mean=(3e5,), scale=(1e4,)),
    "poisson": Field("price", "number", mean=(0.0,), scale=(1.0,)),
    "softmax_cross_entropy": Field(
        "price", "label", ("01", "1", "one"), mean=(0.0,) * 3, scale=(1.0,) * 3
    ),
}


def as_inputs(cells: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """The cells of a table, as ONNX takes them."""
    columns: dict[str, Any] = {}
    for name in ("size", "mean"):
        columns[name] = [np.nan if text in ("", "?") else float(text) for text in cells[name]]
    days = np.array(cells["sold"], "datetime64[D]").astype(np.float64)
    texts = {name: np.array(cells[name], dtype=object) for name in ("zip code", "u0")}
    all_of_them = {**{k: np.array(v) for k, v in columns.items()}, **texts, "sold": days}
    return {name: column[:, None] for name, column in all_of_them.items()}


@pytest.mark.parametrize("loss", TARGETS)
def test_a_model_of_a_table_predicts_from_its_cells(run: Run, loss: str, tmp_path: Path) -> None:
    target = TARGETS[loss]
    params = fcnet.init(jax.random.key(1), (8, 6, len(target.inputs)))
    model = TableModel(params, FEATURES, target, "tanh", loss)
    data.to_onnx(tmp_path / "model.onnx", model)
    table = Table({name: pyarrow.array(texts) for name, texts in CELLS.items()}, 4)
    predicted, *more = run(tmp_path / "model.onnx", as_inputs(CELLS))
    expected = data.predict(model, table)
    if target.is_number:
        np.testing.assert_allclose(predicted, expected, rtol=1e-6)
        assert np.ptp(expected) > 1e-3 * abs(expected).max()
    else:
        assert predicted.tolist() == expected.tolist()
        assert len(set(expected)) > 1
        np.testing.assert_allclose(more[0].sum(axis=1), 1, rtol=1e-6)
    for name, cell in (("zip code", "007"), ("size", "")):
        changed = {**CELLS, name: [cell, *CELLS[name][1:]]}
        refused, *_ = run(tmp_path / "model.onnx", as_inputs(changed))
        assert refused[0] == "" if not target.is_number else np.isnan(refused[0])
        assert refused[1:].tolist() == predicted[1:].tolist()


@pytest.mark.untyped
@pytest.mark.parametrize("name", ["", "price.probabilities"])
def test_a_name_that_onnx_cannot_have_is_refused(name: str, tmp_path: Path) -> None:
    field = FEATURES[0]._replace(name=name)
    params = fcnet.init(jax.random.key(1), (1, 3))
    target = TARGETS["softmax_cross_entropy"]
    model = TableModel(params, (field,), target, "relu", "softmax_cross_entropy")
    with pytest.raises(ValueError, match=f"a column is called {name!r}, which ONNX cannot tell"):
        data.to_onnx(tmp_path / "model.onnx", model)
    assert not [*tmp_path.iterdir()]


@pytest.mark.untyped
def test_a_model_is_exported_on_the_command_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed is what ONNX takes and returns."""
    target = TARGETS["softmax_cross_entropy"]
    params = fcnet.init(jax.random.key(1), (8, 6, 3))
    model = TableModel(params, FEATURES, target, "tanh", "softmax_cross_entropy")
    data.save_model(tmp_path / "model.safetensors", model)
    file = tmp_path / "prices.onnx"
    assert main(["export", str(tmp_path), "--onnx", str(file)]) == 0
    title, *inputs = capsys.readouterr().out.splitlines()
    assert title == f"The inputs of {file}, for n rows:"
    assert inputs == [
        "  size                 float64, shape (n, 1)",
        "  mean                 float64, shape (n, 1), NaN where it is missing",
        "  zip code             text, shape (n, 1)",
        "  u0                   text, shape (n, 1), the empty text where it is missing",
        "  sold                 float64, in days since 1970-01-01, shape (n, 1)",
        f"The outputs of {file}, for n rows:",
        "  price                text, shape (n,)",
        "  price.probabilities  float64, shape (n, 3)",
    ]
    given = as_inputs(CELLS)
    assert [*given] == [line[2:].split("  ")[0] for line in inputs[:5]]
    found, probabilities = run(file, given)
    table = Table({name: pyarrow.array(texts) for name, texts in CELLS.items()}, 4)
    assert found.tolist() == data.predict(model, table).tolist()
    assert probabilities.shape == (4, 3)
    assert main(["export", str(tmp_path / "none"), "--onnx", str(tmp_path / "no.onnx")]) == 1
    assert not (tmp_path / "no.onnx").exists()
