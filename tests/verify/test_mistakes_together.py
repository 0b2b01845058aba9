"""Several mistakes in one program: each is named, and what cannot be judged is said."""

import numpy as np
import pytest
from support.correct_candidates import network

import fcnet


def softmax(Z):
    E = np.exp(Z - Z.max(1, keepdims=True))
    return E / E.sum(1, keepdims=True)


def places(report):
    return [(f.line, f.quantity, f.layer, f.kind) for f in report.findings]


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_a_decay_beside_the_sum_for_the_mean(decay):
    def backward(params, X, y):
        (W1, b1), (W2, b2) = params
        A = np.tanh(X @ W1.T + b1)
        D2 = softmax(A @ W2.T + b2) - np.eye(3)[y]
        D1 = (D2 @ W2) * (1 - A * A)
        return [(D1.T @ X + decay * W1, D1.sum(0)), (D2.T @ A + decay * W2, D2.sum(0))]

    X, labels = np.random.default_rng(0).normal(size=(10, 4)), np.arange(10) % 3
    choices = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
    report = fcnet.check(backward, network((4, 5, 3)), X, labels, **choices)
    summed = (2, "delta", 2, "sum_for_mean")
    assert places(report) == [summed, *[(5, "dW", None, "weight_decay")] * (decay > 0)]
