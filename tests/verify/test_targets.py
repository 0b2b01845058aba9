"""Derived targets are of the user's kind: programs that need it are right, and slips still show."""

import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import network

import fcnet
from fcnet import LOSSES, Loss
from fcnet.verify.targets import random_targets

DRAW = np.random.default_rng(5)
ROWS = DRAW.normal(size=(6, 3))
HINGE = Loss("hinge", lambda o, y: jnp.maximum(0, 1 - o * y).sum(), lambda o, y: -y * (o * y < 1))


def close_to_one(values):
    return np.allclose(values, 1, rtol=0, atol=1e-12)


KINDS = {
    "one-hot": (np.eye(3)[[0, 2, 1, 1]], lambda Y: np.all(np.sort(Y, 1) == [0, 0, 1])),
    "0 or 1": (1.0 * (ROWS > 0), lambda Y: np.isin(Y, (0, 1)).all()),
    "shares": (
        abs(ROWS) / abs(ROWS).sum(1, keepdims=True),
        lambda Y: (Y >= 0).all() and close_to_one(Y.sum(1)),
    ),
    "norm 1": (
        ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True),
        lambda Y: close_to_one(np.linalg.norm(Y, axis=1)) and (Y < 0).any(),
    ),
    "signs": (np.sign(ROWS), lambda Y: np.isin(Y, (-1, 1)).all()),
    "large counts": (
        np.array([[450_000.0, 2, 9], [1, 1, 0]]),
        lambda Y: np.isin(Y, range(5)).all(),
    ),
    "one whole number": (np.full((4, 3), -7.0), lambda Y: np.isin(Y, range(-4, 5)).all()),
    "between 0 and 1": (DRAW.uniform(size=(5, 3)), lambda Y: ((Y >= 0) & (Y <= 1)).all()),
}


@pytest.mark.parametrize("name", KINDS)
def test_derived_targets_are_of_the_users_kind_and_differ(name):
    own, holds = KINDS[name]
    assert holds(own) or name in ("large counts", "one whole number")
    loss = LOSSES["squared_error"]
    many = np.concatenate([random_targets(np.random.default_rng(i), 7, own, loss) for i in (1, 2)])
    assert holds(many)
    assert len(np.unique(many, axis=0)) >= 3
    for other, (_, holds_too) in KINDS.items():  # no kind is all kinds
        assert not holds_too(random_targets(DRAW, 40, 5.5 * ROWS, loss)), other


def test_real_targets_are_the_losss_own():
    assert abs(random_targets(DRAW, 200, ROWS, LOSSES["squared_error"]).std() - 1) < 0.2
    assert random_targets(DRAW, 9, np.eye(3), LOSSES["poisson"]).max() <= 1  # the user's are


def test_without_a_draw_rows_come_from_the_users_own():
    own = DRAW.choice([-1.0, 1.0], (9, 3))
    assert {tuple(row) for row in random_targets(DRAW, 20, own, HINGE)} <= set(map(tuple, own))
    hot = random_targets(DRAW, 20, np.eye(3)[[1, 1]], HINGE)
    assert set(map(tuple, hot)) == set(map(tuple, np.eye(3)))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_each_class_of_a_batch_is_held_and_the_largest_in_any_batch(classes):
    loss = LOSSES["softmax_cross_entropy"]
    own = np.eye(classes)[np.arange(30) % classes]
    for n in (1, 2, 7, 12, 30):
        counts = random_targets(DRAW, n, own, loss).sum(0)
        assert counts[-1] > 0
        assert np.all(counts > 0) or n < classes
    binary = own[:, :1]
    assert {y.sum() for y in (random_targets(DRAW, 1, binary, LOSSES["logistic"]),)} == {1}
    assert 0 < random_targets(DRAW, 2, binary, LOSSES["logistic"]).sum() < 2


def test_targets_suit_the_loss():
    assert random_targets(DRAW, 5, np.ones((4, 1)), LOSSES["softmax_cross_entropy"]).all()


def test_an_example_alone_has_any_class():
    own = np.eye(3)[[1]]
    drawn = [random_targets(DRAW, 1, own, LOSSES["logistic"], batched=False) for _ in range(30)]
    assert np.concatenate(drawn).sum(0).all()


def softmax(Z):
    E = np.exp(Z - Z.max(1, keepdims=True))
    return E / E.sum(1, keepdims=True)


def counting_columns(labels):
    """One-hot rows, as many columns as the largest label says."""
    hot = np.zeros((len(labels), labels.max() + 1))
    hot[range(len(labels)), labels] = 1
    return hot


def classifier(encode, slip=1.0):
    def backward(params, X, y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = (softmax(A @ W2.T + b2) - encode(y)) / len(X)
        D1 = slip * (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    return backward


@pytest.mark.parametrize("classes", [3, 10])
def test_columns_counted_by_the_largest_label_are_right_and_slips_are_found(classes):
    params, labels = network((4, 5, classes)), np.arange(2 * classes + 1) % classes
    X = np.random.default_rng(0).normal(size=(len(labels), 4))
    choices = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
    report = fcnet.check(classifier(counting_columns), params, X, labels, **choices)
    assert report.ok, str(report)
    assert report.findings == ()
    report = fcnet.check(classifier(counting_columns, slip=2.0), params, X, labels, **choices)
    assert [(f.line, f.layer, f.kind) for f in report.findings] == [(4, 1, "factor_2")]


def test_targets_that_must_sum_to_1_do():
    """The residual of a softmax in a form that is right for such targets only."""
    params = network((4, 5, 3))
    X = np.random.default_rng(0).normal(size=(6, 4))
    Y = np.random.default_rng(1).dirichlet(np.ones(3), size=6)

    def backward(params, X, Y):
        assert np.allclose(Y.sum(1), 1)
        assert not np.isin(Y, (0, 1)).all()
        return classifier(lambda Y: Y)(params, X, Y)

    choices = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
    assert fcnet.check(backward, params, X, Y, **choices).ok
