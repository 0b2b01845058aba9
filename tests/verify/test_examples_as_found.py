"""Examples, targets and labels as public code has them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support.tanh_network import D, H, X, Y, arrays, gradients

import fcnet

pytestmark = pytest.mark.untyped


def test_labels_of_two_signs_are_no_numbers_of_classes():
    """Plus y, with y in -1, 1, is no label that is subtracted."""
    signs = np.where(Y[:, :1] > 0, 1.0, -1.0)
    options: Any = {"batched": True, "activation": "tanh"}
    with pytest.raises(ValueError, match="for labels -1 and 1, pass a"):
        fcnet.check(
            lambda p, x, y: p, arrays()[:2], X, np.ones((5, H)) - 2, loss="logistic", batched=True
        )
    margin = fcnet.Loss(
        "margin",
        lambda o, y: jnp.log1p(jnp.exp(-y * o)).sum(),
        lambda o, y: -y / (1 + jnp.exp(y * o)),
    )

    def backward(params: Any, x: Any, y: Any) -> Any:
        W, b = params
        d = -y / (1 + np.exp(-y * (x @ W + b))) / len(x)  # exp(y o) is right
        return x.T @ d, d.sum(0)

    report = fcnet.check(backward, [X[:D, :1], X[0, :1]], X, signs, loss=margin, **options)
    assert not report.ok
    assert not any("label" in finding.message for finding in report.findings), report


def test_labels_that_count_from_1_are_told_what_to_do():
    with pytest.raises(ValueError, match=r"integers from 1 to 2 \(for labels that count from 1"):
        fcnet.check(lambda params, x, y: None, arrays(), X, np.array([1, 2, 2, 1, 1]), batched=True)


@pytest.mark.parametrize("target", ["x", "y"])
@pytest.mark.parametrize("slip", [False, True])
def test_an_autoencoder_may_use_its_examples_for_targets(target, slip):
    rng = np.random.default_rng(6)
    params = [rng.normal(size=s) for s in ((D, H), (H,), (H, D), (D,))]

    def backward(params: Any, x: Any, y: Any) -> Any:
        return gradients(*params, x, {"x": x, "y": y}[target], slip)

    report = fcnet.check(backward, params, X, X, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip


@pytest.mark.parametrize("slip", [False, True])
def test_examples_may_be_tables_of_pandas(slip):
    pandas = pytest.importorskip("pandas")
    x, y = pandas.DataFrame(X, columns=list("abc")), pandas.Series(Y[:, 0], name="y")

    def backward(params: Any, x: Any, y: Any) -> Any:
        d = (x[list("abc")] @ params["w"] + params["b"] - y) / len(y)
        return {"w": x.T @ d, "b": d.sum() * (2 if slip else 1)}

    report = fcnet.check(backward, {"w": X[0], "b": 0.5}, x, y, batched=True)
    assert [(f.line, f.kind) for f in report.findings] == slip * [(5, "factor_2")], report
    text = pandas.DataFrame({"a": ["one"]})
    with pytest.raises(TypeError, match="got DataFrame"):
        fcnet.check(backward, {"w": X[0], "b": 0.5}, text, y, batched=True)


@pytest.mark.parametrize("shape", [(D, 1), (1, D), (1, 1, D)])
@pytest.mark.parametrize("slip", [False, True])
def test_examples_may_be_images(shape, slip):
    """The program makes a row of each."""

    def backward(params: Any, x: Any, y: Any) -> Any:
        assert x.shape[1:] == shape
        return gradients(*params, x.reshape(len(x), -1), y, slip)

    images = X.reshape(len(X), *shape)
    report = fcnet.check(backward, arrays(), images, Y, batched=True, activation="tanh")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(5, 1, "sum_for_mean")] * slip
    one = fcnet.check(lambda *a: backward(*a[:1], a[1][None], a[2]), arrays(), images[0], Y[0])
    assert one.verdict != "cannot tell"
