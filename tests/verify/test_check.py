"""`fcnet.check` from end to end: right and wrong programs, in the layouts that people use."""

import json
from functools import partial

import jax
import numpy as np
import pytest
from support.correct_candidates import (
    LAYOUTS,
    counted,
    data,
    gradient,
    in_layout,
    jitted,
    network,
    student,
    torch_functions,
)

import fcnet
from fcnet.demo.published import MAZUR_EXAMPLE, MAZUR_WEIGHTS
from fcnet.verify.report import GradientError

pytestmark = pytest.mark.untyped  # whole checks: the types cost six times their time

SIZES = (4, 3, 2)


def backward(change=lambda name, value: value):
    """A student's backward pass for one example; `change` may spoil a quantity by its name."""

    def my_backprop(params, x, y):
        (W1, b1), (W2, b2) = params
        z1 = W1 @ x + b1
        a1 = change("a1", z1 * (z1 > 0))
        delta2 = change("delta2", W2 @ a1 + b2 - y)
        delta1 = change("delta1", (W2.T @ delta2) * change("mask", z1 > 0))
        dW1, dW2 = np.outer(delta1, x), change("dW2", np.outer(delta2, a1))
        return [(dW1, change("db1", delta1)), (dW2, delta2)]

    return my_backprop


def spoilt(name, edit):
    return backward(lambda which, value: edit(value) if which == name else value)


def gradient_outputs(params, X):
    (W1, b1), (W2, b2) = params
    return np.maximum(X @ W1.T + b1, 0) @ W2.T + b2


@pytest.fixture
def problem():
    X, Y = data(1, SIZES)
    return network(SIZES), X[0], Y[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_program_is_right_to_the_digits_of_its_precision(problem, dtype):
    params, x, y = jax.tree.map(lambda leaf: leaf.astype(dtype), problem)
    report = fcnet.check(backward(), params, x, y)
    assert report.verdict == "right"
    assert report.ok
    assert report.findings == ()
    assert report.precision == dtype
    assert report.convention == 0
    assert len(report.leaves) == 4
    assert all(leaf.error <= leaf.tolerance for leaf in report.leaves)
    report.raise_if_wrong()


@pytest.mark.parametrize(
    ("name", "edit", "line", "quantity", "layer", "kind"),
    [
        ("delta2", lambda v: 2 * v, 2, "delta", 2, "factor_2"),
        ("delta2", lambda v: -v, 2, "delta", 2, "sign"),
        ("mask", np.ones_like, 4, "delta", 1, "missing_derivative"),
        ("db1", np.zeros_like, 5, "db", 1, "zero"),
        ("dW2", lambda v: 3 * v, 5, "dW", 2, None),
    ],
)
def test_a_wrong_line_is_named(problem, name, edit, line, quantity, layer, kind):
    report = fcnet.check(spoilt(name, edit), *problem)
    assert report.verdict == "wrong"
    (finding,) = report.findings
    assert (finding.line, finding.quantity, finding.layer) == (line, quantity, layer)
    assert kind is None or finding.kind == kind
    with pytest.raises(GradientError, match="WRONG"):
        report.raise_if_wrong()


@pytest.mark.parametrize(
    "sizes",
    [(3, 3, 3, 2), *(pytest.param(s, marks=pytest.mark.slow) for s in [(4, 3, 3), (2, 2, 2)])],
)
@pytest.mark.parametrize("spoilt", [False, True])
def test_square_layers_are_read_as_they_are(sizes, spoilt):
    def function(params, X, Y):
        loss, pairs = gradient(params, X, Y)
        return loss, [(W.T if spoilt and k == 1 else W, b) for k, (W, b) in enumerate(pairs)]

    report = fcnet.check(function, network(sizes), *data(5, sizes), batched=True)
    assert report.verdict == ("wrong" if spoilt else "right"), str(report)
    assert [(f.layer, f.kind) for f in report.findings] == ([(2, "transposed")] if spoilt else [])


def test_two_mistakes_are_both_named(problem):
    def change(name, value):
        return 2 * value if name == "delta2" else 0 * value if name == "db1" else value

    report = fcnet.check(backward(change), *problem)
    assert {(f.line, f.layer) for f in report.findings} == {(2, 2), (5, 1)}


def test_a_relative_error_of_1e_12_in_one_entry_is_found_in_float64(problem):
    def nudge(value):
        value = value.copy()
        value[0, 1] *= 1 + 1e-12
        return value

    assert fcnet.check(spoilt("dW2", nudge), *problem).verdict == "wrong"


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("factor", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_layout_gives_the_same_verdict(name, factor):
    def doubled(params, X, Y):  # the gradient as if the residual were so many times larger
        o = gradient_outputs(params, X)
        return gradient(params, X, o + factor * (Y - o))

    params = LAYOUTS[name].write(network(SIZES))
    report = fcnet.check(in_layout(name, doubled), params, *data(5, SIZES), batched=True)
    assert report.verdict == ("right" if factor == 1 else "wrong")
    assert [(f.line, f.layer, f.kind) for f in report.findings] == (
        [] if factor == 1 else [(2, 2, "factor_2")]
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "pairs" else pytest.mark.slow) for name in LAYOUTS],
)
def test_square_layers_are_read_as_they_are_and_transposes_found(name):
    """Where no shape tells a matrix from its transpose."""
    sizes = (4, 3, 3, 3, 2)

    def transposed(params, X, Y):
        loss, grads = gradient(params, X, Y)
        grads[1] = (grads[1][0].T, grads[1][1])
        return loss, grads

    params = LAYOUTS[name].write(network(sizes))
    X, Y = data(6, sizes)
    for function, findings in ((gradient, []), (transposed, [(5, "dW", 2, "transposed")])):
        report = fcnet.check(in_layout(name, function), params, X, Y, batched=True)
        assert [(f.line, f.quantity, f.layer, f.kind) for f in report.findings] == findings
        assert report.ok == (not findings)


def library(name):
    return pytest.importorskip("torch").tensor if name == "torch" else jax.numpy.asarray


@pytest.mark.parametrize("factor", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("function", "layout", "kind"),
    [
        (student, "names", "numpy"),
        (torch_functions, "names", "torch"),
        (jitted, "pairs", "jax"),
    ],
    ids=["a student's class", "autograd.Function", "jax.jit"],
)
def test_programs_of_every_library_are_checked(function, layout, kind, factor):
    def candidate(params, X, Y):
        result = function(params, X, Y)
        if layout == "names":
            key = "dW2" if "dW2" in result else "W2"
            return result | {key: factor * result[key]}
        loss, pairs = result
        return loss, [pairs[0], (factor * pairs[1][0], pairs[1][1])]

    arguments = (LAYOUTS[layout].write(network(SIZES)), *data(5, SIZES))
    if kind != "numpy":
        arguments = jax.tree.map(library(kind), jax.tree.map(np.float32, arguments))
    report = fcnet.check(candidate, *arguments, batched=True)
    assert report.verdict == ("right" if factor == 1 else "wrong"), str(report)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == (
        [] if factor == 1 else [(5, 2, "factor_2")]
    )


def test_the_candidate_is_called_at_most_ten_times_an_input():
    candidate, count = counted(gradient)
    report = fcnet.check(candidate, network(SIZES), *data(5, SIZES), batched=True)
    assert report.ok
    assert count.calls <= 10 * len(report.cases)


def test_a_gradient_that_is_zero_everywhere_proves_nothing():
    flat = fcnet.Loss("flat", lambda o, y: 0 * (o - y).sum(), lambda o, y: 0 * o)
    params = network(SIZES)
    X, Y = data(1, SIZES)
    report = fcnet.check(
        lambda params, x, y: [(0 * W, 0 * b) for W, b in params], params, X[0], Y[0], loss=flat
    )
    assert report.verdict == "cannot tell"
    assert not report.ok


def test_a_program_that_raises_is_a_finding(problem):
    def broken(params, x, y):
        raise RuntimeError("no idea")

    report = fcnet.check(broken, *problem)
    assert [finding.kind for finding in report.findings] == ["raises"]
    assert "no idea" in report.findings[0].message


def test_the_report_is_short_and_reads_back(problem):
    for candidate in (backward(), spoilt("mask", np.ones_like)):
        report = fcnet.check(candidate, *problem)
        assert len(str(report).splitlines()) <= 30
        assert str(report).startswith(f"my_backprop: {report.verdict.upper()}")
        plain = json.loads(report.to_json())
        assert plain["verdict"] == report.verdict
        assert [leaf["path"] for leaf in plain["leaves"]] == [leaf.path for leaf in report.leaves]
        page = report.to_html()
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
        assert "<script" not in page


def test_an_unknown_reduction_is_refused(problem):
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum', got 'median'"):
        fcnet.check(backward(), *problem, reduction="median")


def test_weights_updated_on_the_way_back_are_found_in_mazurs_example():
    """The program beside his worked example changes W[2] before it goes back through it."""
    rate = 0.5

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def trainer(params, x, y, in_place):
        """One step; the new weights are those he prints, but for in_place."""
        (W1, b1), (W2, b2) = params
        a1 = sigmoid(W1 @ x + b1)
        o = sigmoid(W2 @ a1 + b2)
        delta2 = (o - y) * o * (1 - o)
        dW2 = np.outer(delta2, a1)
        delta1 = ((W2 - rate * dW2 * in_place).T @ delta2) * a1 * (1 - a1)
        return [(np.outer(delta1, x), delta1), (dW2, delta2)]

    settings = {
        "activation": "sigmoid",
        "output_activation": "sigmoid",
        "weight_layout": "out_in",
    }
    for in_place, findings in ((False, []), (True, [(4, "delta", 1, "updated_weights")])):
        report = fcnet.check(
            partial(trainer, in_place=in_place), MAZUR_WEIGHTS, *MAZUR_EXAMPLE, **settings
        )
        assert [(f.line, f.quantity, f.layer, f.kind) for f in report.findings] == findings
    (finding,) = report.findings
    assert "W[2] - 0.5 dJ/dW[2] were used in the backward pass of layer 1" in finding.message
    stepped = [
        W - rate * dW
        for (W, _), (dW, _) in zip(
            MAZUR_WEIGHTS, trainer(MAZUR_WEIGHTS, *MAZUR_EXAMPLE, False), strict=True
        )
    ]
    published = [0.149780716, 0.19956143, 0.24975114, 0.29950229]
    assert np.ravel(stepped[0]) == pytest.approx(published, abs=1e-8)
