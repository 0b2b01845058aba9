"""Dropout left on is named with its layer and rate, and all else is judged in spite of it."""

import numpy as np
import pytest
from support.correct_candidates import data, gradient, network

import fcnet

pytestmark = pytest.mark.untyped

SIZES = (5, 8, 8, 2)


class Trainer:
    """A tanh or ReLU network with two hidden layers, for one example or many, in training mode.

    Args:
        rates: of dropout on the input and on each hidden layer.
        seed: of every call, or None for other units in each call.
        scaled: whether the units that are kept are divided by 1 - rate.
        slip: what else is wrong.
    """

    def __init__(self, rates=(0, 0.5, 0), seed=None, scaled=True, slip="", relu=True):
        self.rates, self.seed, self.scaled, self.slip, self.relu = rates, seed, scaled, slip, relu
        self.draw = np.random.default_rng(3)

    def mask(self, shape, rate):
        kept = self.draw.random(shape) >= rate
        return kept / (1 - rate) if self.scaled else kept.astype(float)

    def slope(self, Z):
        return Z > 0 if self.relu else 1 - np.tanh(Z) ** 2

    def __call__(self, params, x, y):
        if self.seed is not None:
            self.draw = np.random.default_rng(self.seed)
        X, Y = np.atleast_2d(x), np.atleast_2d(y)
        A, Z, masks = [X * self.mask(X.shape, self.rates[0])], [], []
        for (W, b), rate in zip(params[:-1], self.rates[1:], strict=True):
            Z.append(A[-1] @ W.T + b)
            masks.append(self.mask(Z[-1].shape, rate))
            A.append((np.maximum(Z[-1], 0) if self.relu else np.tanh(Z[-1])) * masks[-1])
        (W, b), grads = params[-1], []
        D = (A[-1] @ W.T + b - Y) / len(X)
        for k in (2, 1, 0):
            grads.insert(0, (D.T @ A[k] * (2 if self.slip == "factor" and k == 2 else 1), D.sum(0)))
            if k:
                D = D @ params[k][0] * masks[k - 1]
                D = D if self.slip == "slope" and k == 1 else D * self.slope(Z[k - 1])
        return grads


def check(trainer, batched=True):
    draw = np.random.default_rng(0)
    params = network(SIZES)
    X, Y = draw.normal(size=(6, 5)), draw.normal(size=(6, 2))
    arguments = (X, Y) if batched else (X[0], Y[0])
    activation = "relu" if trainer.relu else "tanh"
    return fcnet.check(trainer, params, *arguments, activation=activation, batched=batched)


def found(report):
    return [(f.line, f.quantity, f.layer, f.kind) for f in report.findings]


CASES = [
    ({}, [1], "a rate of 0.5"),
    ({"rates": (0, 0.2, 0), "seed": 1}, [1], "a rate of 0.2"),
    ({"rates": (0.5, 0, 0)}, [None], "the input x has dropout"),
    ({"rates": (0, 0, 0.2)}, [2], "a rate of 0.2"),
    ({"rates": (0, 0.1, 0), "seed": 4}, [1], "a[1] is 1.111 times as large"),
    ({"rates": (0, 0.5, 0.5), "relu": False}, [1, 2], "a rate of 0.5"),
    ({"scaled": False}, [1], "about a rate of 0."),
]


@pytest.mark.parametrize(
    ("choices", "layers", "rate", "batched"),
    [
        pytest.param(*case, batched, marks=[pytest.mark.slow] * (i > 2 or batched != (i != 1)))
        for i, case in enumerate(CASES)
        for batched in (True, False)
    ],
)
def test_dropout_is_the_only_finding(choices, layers, rate, batched):
    report = check(Trainer(**choices), batched)
    assert report.verdict == "wrong"
    assert found(report) == [(1, "", layer, "dropout") for layer in layers], str(report)
    assert rate in report.findings[0].message


@pytest.mark.parametrize(
    ("slip", "finding", "seed"),
    [
        ("factor", (5, "dW", 3, "factor_2"), None),
        pytest.param("slope", (4, "delta", 1, "missing_derivative"), 1, marks=pytest.mark.slow),
    ],
)
def test_what_is_wrong_beside_dropout_is_named_too(slip, finding, seed):
    report = check(Trainer(slip=slip, seed=seed))
    assert found(report) == [(1, "", 1, "dropout"), finding], str(report)


@pytest.mark.slow
@pytest.mark.parametrize("slip", ["", "slope"])
def test_a_step_shows_dropout_too(slip):
    trainer = Trainer(slip=slip, seed=1)

    def step(params, X, Y):
        for (W, b), (dW, db) in zip(params, trainer(params, X, Y), strict=True):
            W -= 0.05 * dW
            b -= 0.05 * db

    draw, options = np.random.default_rng(0), {"batched": True, "learning_rate": 0.05}
    X, Y = draw.normal(size=(6, 5)), draw.normal(size=(6, 2))
    report = fcnet.check(step, network(SIZES), X, Y, activation="relu", **options)
    lines = [(4, "delta", 1, "missing_derivative")] if slip else []
    assert found(report) == [(1, "", 1, "dropout"), *lines], str(report)


@pytest.mark.parametrize("slip", ["", pytest.param("factor", marks=pytest.mark.slow)])
def test_a_penalty_beside_dropout_is_not_blamed_and_no_loss_is(slip):
    trainer = Trainer(slip=slip)

    def backward(params, X, Y):
        gradient = [
            (dW + 0.3 * W, db)
            for (dW, db), (W, _) in zip(trainer(params, X, Y), params, strict=True)
        ]
        return 1.0, gradient

    draw = np.random.default_rng(0)
    X, Y = draw.normal(size=(6, 5)), draw.normal(size=(6, 2))
    report = fcnet.check(backward, network(SIZES), X, Y, batched=True, l2=0.3)
    assert found(report) == [(1, "", 1, "dropout"), *[(5, "dW", 3, "factor_2")] * bool(slip)]


def test_without_dropout_there_is_none():
    assert check(Trainer(rates=(0, 0, 0))).ok
    assert found(check(Trainer(rates=(0, 0, 0), slip="factor"))) == [(5, "dW", 3, "factor_2")]


@pytest.mark.slow
@pytest.mark.parametrize("batched", [True, False])
def test_a_threshold_on_the_wrong_array_is_no_dropout(batched):
    """A ReLU of x: each input is used 0 times or once, as its sign says."""

    class Rectified(Trainer):
        def __call__(self, params, x, y):
            return super().__call__(params, np.maximum(x, 0), y)

    report = check(Rectified(rates=(0, 0, 0)), batched)
    assert report.verdict == "wrong"
    assert all(finding.kind != "dropout" for finding in report.findings)


def test_a_column_that_is_left_out_is_no_dropout():
    def backward(params, X, Y):
        _, ((dW1, db1), (dW2, db2)) = gradient(params, X, Y)
        return [(dW1 * (np.arange(4) < 3), db1), (dW2, db2)]

    report = fcnet.check(backward, network(), *data(5), batched=True)
    assert found(report) == [(5, "dW", 1, "last_input_dropped")]


def test_other_noise_is_no_dropout_and_no_line_is_blamed():
    draw = np.random.default_rng(0)

    def backward(params, X, Y):
        return gradient(params, X + 0.1 * draw.normal(size=X.shape), Y)[1]

    report = fcnet.check(backward, network(), *data(5), batched=True)
    assert found(report) == [(None, "", None, "nondeterministic")]
    assert any("no line was judged" in note for note in report.notes)


def test_a_program_that_fails_on_every_single_example_is_judged_on_batches():
    def backward(params, X, Y):
        Z, ((dW1, db1), (dW2, _)) = X @ params[0].W.T, gradient(params, X, Y)[1]
        return [(dW1, db1), (dW2, (Z @ Z).sum(0)[:2])]  # @ for *: as many examples as units

    report = fcnet.check(backward, network(), *data(5), batched=True)
    assert {finding.kind for finding in report.findings} >= {"raises"}
