"""The judge is judged: by central differences where these are exact, by Algorithm 5, by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judge_cases import case, cost

import fcnet
from fcnet.losses import as_objective
from fcnet.types import Activation, Layer
from fcnet.verify.truth.reference import reference
from fcnet.verify.types import FORMATS, Case, Cost

FLOAT64 = FORMATS["float64"]


def half_mean_square(params: Any, X: np.ndarray, Y: np.ndarray) -> float:
    """Half the mean squared error of a ReLU network, in NumPy."""
    A = X
    for k, (W, b) in enumerate(params):
        A = A @ W.T + b
        A = np.maximum(A, 0) if k + 1 < len(params) else A
    return float(((A - Y) ** 2).sum() / (2 * len(X)))


def central_differences(c: Case, h: float) -> Any:
    """Of the cost, in every parameter."""
    params = jax.tree.map(np.array, c.params)
    result = jax.tree.map(np.zeros_like, params)
    for array, slope in zip(jax.tree.leaves(params), jax.tree.leaves(result), strict=True):
        for at in np.ndindex(array.shape):
            middle = array[at]
            ends = []
            for x in (middle + h, middle - h):
                array[at] = x
                ends.append(half_mean_square(params, c.X, c.Y))
            array[at] = middle
            slope[at] = (ends[0] - ends[1]) / (2 * h)
    return result


def close(one: Any, other: Any, digits: float) -> bool:
    """Whether each array agrees with its twin, relative to its norm."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.linalg.norm(a - b) <= 10.0**-digits * np.linalg.norm(b) for a, b in pairs)


@pytest.mark.parametrize("sizes", [(4, 3, 2), (3, 5, 4, 2)])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_central_differences_agree_where_they_are_exact(sizes: tuple[int, ...], seed: int) -> None:
    """In one parameter the cost is a parabola as long as no unit crosses its kink."""
    c, h = case(sizes, n=3, seed=seed), 1e-4
    judged = reference(cost("relu"), c, FLOAT64)
    assert min(abs(z).min() for z in judged.trace.z) > 20 * h
    assert close(judged.gradient, central_differences(c, h), 10)
    assert judged.loss == pytest.approx(half_mean_square(c.params, c.X, c.Y), rel=1e-14)


def test_central_differences_notice_an_error_of_a_billionth() -> None:
    c = case(n=3)
    gradient = reference(cost("relu"), c, FLOAT64).gradient
    off = (gradient[0]._replace(W=gradient[0].W * (1 + 1e-9)), *gradient[1:])
    assert not close(off, central_differences(c, 1e-4), 10)


@pytest.mark.parametrize(
    ("activation", "loss", "reduction"),
    [
        ("relu", "squared_error", "sum"),
        ("tanh", "logistic", "mean"),
        ("sigmoid", "softmax_cross_entropy", "mean"),
    ],
)
def test_algorithm_5_agrees(activation: str, loss: str, reduction: str) -> None:
    c = case(n=5, loss=loss)
    judged = reference(cost(activation, loss, reduction=reduction), c, FLOAT64)
    choices = {"activation": activation, "loss": loss}
    with jax.enable_x64(True):
        params, X, Y = jax.tree.map(jnp.asarray, (c.params, c.X, c.Y))
        gradient = fcnet.batch_backprop(params, X, Y, **choices)
        trace = jax.vmap(lambda x: fcnet.forward_trace(params, x, activation=activation))(X)
        deltas = jax.vmap(lambda t, y: fcnet.deltas(params, t, y, **choices))(trace, Y)
        gradient, trace, deltas = jax.tree.map(np.asarray, (gradient, trace, tuple(deltas)))
    factor = len(X) if reduction == "sum" else 1
    assert close(judged.gradient, jax.tree.map(lambda g: factor * g, gradient), 13)
    assert close(judged.trace, trace, 13)
    assert close(judged.deltas, deltas, 13)
    assert not close(judged.deltas, tuple(d * (1 + 1e-12) for d in deltas), 13)


def test_derivatives_in_the_tables_are_not_trusted() -> None:
    tanh = fcnet.ACTIVATIONS["tanh"]
    lying = Activation("tanh", tanh.function, lambda z: 0 * z)
    c = case()
    honest = reference(cost("tanh"), c, FLOAT64)
    kept = reference(Cost(as_objective(lying, "identity", "squared_error")), c, FLOAT64)
    assert close(kept.gradient, honest.gradient, 15)


def test_rows_that_fill_up_count_for_nothing() -> None:
    c = case(n=3)
    few, many = (reference(cost(), c, FLOAT64, rows) for rows in (None, 30))
    assert close(many.gradient, few.gradient, 14)
    assert [z.shape for z in many.trace.z] == [(3, 3), (3, 2)]
    assert [d.shape for d in many.deltas] == [(3, 3), (3, 2)]


def test_the_tolerance_follows_the_precision_and_the_loss() -> None:
    c = case()
    fine, coarse = (reference(cost(), c, u).tolerance for u in (FLOAT64, FORMATS["float32"]))
    assert close(coarse, jax.tree.map(lambda t: 2.0**29 * t, fine), 12)
    for judged in map(jax.tree.leaves, (fine, coarse)):
        assert all((t > 0).all() for t in judged)


def tied() -> Case:
    """A ReLU network with zero biases, and one of its two examples zero: there each z is 0."""
    c = case(n=2)
    params = tuple(Layer(W, 0 * b) for W, b in c.params)
    return c._replace(params=params, X=c.X * [[1.0], [0.0]])


def by_hand(c: Case, at: Any) -> Any:
    """The gradient with ReLU'(0) = `at`, which may be an array over examples and units."""
    (W1, b1), (W2, b2) = c.params
    z1 = c.X @ W1.T + b1
    delta2 = (np.maximum(z1, 0) @ W2.T + b2 - c.Y) / len(c.X)
    delta1 = (delta2 @ W2) * np.where(z1 == 0, at, z1 > 0)
    a1 = np.maximum(z1, 0)
    return (Layer(delta1.T @ c.X, delta1.sum(0)), Layer(delta2.T @ a1, delta2.sum(0)))


def test_at_a_kink_each_convention_has_its_gradient() -> None:
    c = tied()
    judged = reference(cost("relu"), c, FLOAT64)
    assert [kink.sum() for kink in judged.kinks] == [3, 0]
    for at in (0.0, 0.5, 1.0):
        assert close(judged.by_convention[at], by_hand(c, at), 13)
    assert close(judged.gradient, by_hand(c, 1.0), 13)
    assert not close(judged.by_convention[0.0], by_hand(c, 1.0), 3)


def test_the_slack_covers_a_choice_for_each_unit_and_no_more() -> None:
    c, draw = tied(), np.random.default_rng(0)
    judged = reference(cost("relu"), c, FLOAT64)
    leaves = jax.tree.leaves
    reached = [np.zeros(g.shape) for g in leaves(judged.gradient)]
    for _ in range(40):
        chosen = by_hand(c, draw.choice([0.0, 1.0], size=(2, 3)))
        for i, (g, right) in enumerate(zip(leaves(chosen), leaves(judged.gradient), strict=True)):
            reached[i] = np.maximum(reached[i], abs(g - right))
    for most, slack in zip(reached, leaves(judged.slack), strict=True):
        np.testing.assert_allclose(most, slack, rtol=1e-9, atol=1e-14)


def test_without_a_kink_there_is_no_slack() -> None:
    judged = reference(cost("relu"), case(), FLOAT64)
    assert judged.by_convention == {}
    assert not any(s.any() for s in jax.tree.leaves(judged.slack))
    assert not any(k.any() for k in reference(cost("tanh"), tied(), FLOAT64).kinks)
