"""A network that changes its inputs on the way in is told apart from one with wrong lines.

| candidate | oracle |
|---|---|
| computes with s x + t instead of x | one finding, with s and t |
| has a wrong delta[2] besides | that finding, and the line and layer of the slip |
| changes x in dW[1] alone, or in the forward pass alone | a wrong line, no change of inputs |
"""

import numpy as np
import pytest
from support.pairs import diagonal

import fcnet

pytestmark = pytest.mark.untyped

CHANGES = {
    "0.00392157 x": lambda X: X / 255,
    "2 x - 1": lambda X: 2 * X - 1,
    "1 x + 1": lambda X: X + 1,
    "1.01 x": lambda X: 1.01 * X,  # no call drops a unit, so that is no dropout
    "-1 x": np.negative,
}


def candidate(forward_input, gradient_input, slip=1):
    """Backpropagation with tanh, in rows, that changes x in the two places where it is used."""

    def backward(params, X, Y):
        (W1, b1), (W2, b2) = params
        rows, targets = np.atleast_2d(X), np.atleast_2d(Y)
        a = np.tanh(forward_input(rows) @ W1.T + b1)
        d2 = slip * (a @ W2.T + b2 - targets) / len(rows)
        d1 = d2 @ W2 * (1 - a * a)
        return [(d1.T @ gradient_input(rows), d1.sum(0)), (d2.T @ a, d2.sum(0))]

    return backward


def findings(backward, n=6, dtype=np.float64, pixels=False):
    rng = np.random.default_rng(0)
    shapes = (((3, 4), (3,)), ((2, 3), (2,)))
    params = [tuple(rng.normal(size=shape).astype(dtype) for shape in pair) for pair in shapes]
    examples = (n,) if n else ()
    X = rng.normal(size=(*examples, 4)).astype(dtype)
    if pixels:
        X = rng.integers(0, 256, X.shape).astype(np.uint8)
    Y = rng.normal(size=(*examples, 2)).astype(dtype)
    report = fcnet.check(backward, params, X, Y, activation="tanh", batched=bool(n))
    return report.findings


@pytest.mark.parametrize(
    ("words", "n", "dtype", "slip"),
    [
        *((words, 6, np.float64, 1) for words in CHANGES),
        ("2 x - 1", 6, np.float32, 1),
        ("2 x - 1", 0, np.float64, 1),
        ("2 x - 1", 6, np.float64, 2),
    ],
    ids=str,
)
def test_changed_inputs_are_told(words, n, dtype, slip):
    change = CHANGES[words]
    first, *rest = findings(candidate(change, change, slip), n, dtype)
    assert first.kind == "other_description"
    assert first.message.startswith(f"this network computes with {words} instead of x, and")
    assert [(f.line, f.layer, f.kind) for f in rest] == [(2, 2, "factor_2")] * (slip == 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on_the_way", "words"), diagonal(["forward", "back"], ["0.00392157 x", "1 x + 1"])
)
def test_inputs_changed_in_one_place_are_a_wrong_line(on_the_way, words):
    changes = [CHANGES[words], np.asarray][:: 1 if on_the_way == "forward" else -1]
    found = findings(candidate(*changes))
    assert found
    assert not any("instead of x" in finding.message for finding in found)
    if on_the_way == "back":
        assert {(f.line, f.quantity, f.layer) for f in found} == {(5, "dW", 1)}


def test_pixels_divided_by_255_are_told():
    """Of bytes, negative numbers would all be 0, and zeros show no factor."""
    change = CHANGES["0.00392157 x"]
    (finding,) = findings(candidate(change, change), pixels=True)
    assert finding.message.startswith("this network computes with 0.00392157 x instead of x, and")
