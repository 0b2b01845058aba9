"""Numbers below the smallest normal one, which XLA takes for 0 on a CPU and NumPy does not."""

import jax
import numpy as np
import pytest

import fcnet

pytestmark = pytest.mark.untyped  # whole checks: the types cost six times their time

TINY = float(np.finfo(np.float64).tiny)

SCALES = {
    "parameters": (TINY / 8, 1.0, TINY / 8, 1.0),
    "inputs": (1.0, TINY / 8, 1.0, 1.0),
    "everything": (TINY / 8,) * 4,
    "products": (1.0, TINY**0.5 / 16, TINY**0.5 / 16, TINY**0.5),
}
"""What is so small: the sizes of W1, X, W2 and Y."""


def drawn(scales):
    rng = np.random.default_rng(0)
    W1, X, W2, Y = (
        scale * rng.normal(size=shape)
        for scale, shape in zip(scales, ((4, 3), (5, 3), (1, 4), (5, 1)), strict=True)
    )
    return [(W1, np.zeros(4)), (W2, np.zeros(1))], X, Y


def by_xla(params, X, Y):
    return fcnet.batch_backprop(params, X, Y)


def by_numpy(params, X, Y):
    (W1, b1), (W2, b2) = params
    Z = X @ W1.T + b1
    A = np.maximum(Z, 0)
    D2 = (A @ W2.T + b2 - Y) / len(X)
    D1 = (D2 @ W2) * (Z >= 0)
    return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]


def twice(params, X, Y):
    (dW1, db1), second = by_numpy(params, X, Y)
    return [(2 * dW1, db1), second]


@pytest.mark.parametrize("small", [small for small in SCALES if small != "inputs"])
def test_what_underflows_is_off_by_the_smallest_normal_number_at_most(x64, small):
    """Of inputs too, but their pre-activations are on one side of the kink, or at it."""
    params, X, Y = drawn(SCALES[small])
    got, exact = by_xla(params, X, Y), by_numpy(params, X, Y)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(exact), strict=True):
        assert (abs(a - b) <= 100 * TINY + 1e-12 * abs(b)).all()


@pytest.mark.parametrize("small", ["inputs", "products"])
def test_right_code_is_right_whether_numbers_underflow_or_not(x64, small):
    given = drawn(SCALES[small])
    for backward in (by_xla, by_numpy):
        assert fcnet.check(backward, *given, batched=True).verdict == "right"


def test_wrong_code_is_wrong_although_its_numbers_underflow(x64):
    report = fcnet.check(twice, *drawn(SCALES["everything"]), batched=True)
    assert [finding.kind for finding in report.findings] == ["factor_2"]
    assert any("proves nothing" in note for note in report.notes)
