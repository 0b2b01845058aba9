"""Numbers that others published, recomputed, and a published mistake that must not be repeated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from fcnet.backprop import backprop
from fcnet.demo.published import MAZUR_EXAMPLE, MAZUR_WEIGHTS, Example, cs231n, mazur
from fcnet.losses import example_loss
from fcnet.sgd import gradient_descent
from fcnet.types import Layer, Params

SIGMOIDS: Any = {"activation": "sigmoid", "output_activation": "sigmoid"}
CORRECT = {1: 0.291027773694, 10_000: 3.510187783e-05}
IN_PLACE = {1: 0.291027924, 10_000: 0.000035085}


def weights_only(params: Params, X: jax.Array, Y: jax.Array) -> Params:
    """The gradient of Mazur's one example, with 0 for the biases, which he leaves as they are."""
    gradient = backprop(params, X[0], Y[0], **SIGMOIDS)
    return tuple(Layer(layer.W, jnp.zeros_like(layer.b)) for layer in gradient)


def in_place(params: Params, X: jax.Array, Y: jax.Array) -> Params:
    """The mistake: the last layer is updated first, and its new weights carry delta down."""
    _, last = weights_only(params, X, Y)
    moved = (params[0], Layer(params[1].W - 0.5 * last.W, params[1].b))
    a1 = jax.nn.sigmoid(params[0].W @ X[0] + params[0].b)
    o = jax.nn.sigmoid(params[1].W @ a1 + params[1].b)
    delta = (moved[1].W.T @ ((o - Y[0]) * o * (1 - o))) * a1 * (1 - a1)
    return Layer(jnp.outer(delta, X[0]), jnp.zeros(2)), last


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("steps", [1, 10_000])
def test_mazur_s_losses_are_those_of_a_simultaneous_update(steps: int) -> None:
    params = tuple(Layer(jnp.asarray(W), jnp.asarray(b)) for W, b in MAZUR_WEIGHTS)
    x, y = map(jnp.asarray, MAZUR_EXAMPLE)
    losses = {}
    for gradient in (weights_only, in_place):
        trained = gradient_descent(
            params, x[None], y[None], learning_rate=0.5, steps=steps, gradient=gradient
        )
        losses[gradient] = float(example_loss(trained, x, y, **SIGMOIDS))
    assert losses[weights_only] == pytest.approx(CORRECT[steps], rel=1e-9)
    assert losses[in_place] == pytest.approx(IN_PLACE[steps], rel=2e-5)
    assert losses[weights_only] != pytest.approx(IN_PLACE[steps], rel=1e-7)


@pytest.mark.parametrize("recompute", [mazur, cs231n])
def test_every_published_digit_is_recomputed(recompute: Callable[[], Example]) -> None:
    example = recompute()
    assert example.agrees
    assert len(example.published) == len(example.computed) >= 4


@pytest.mark.parametrize("recompute", [mazur, cs231n])
def test_one_wrong_digit_is_seen(recompute: Callable[[], Example]) -> None:
    example = recompute()
    unit = 10.0 ** -len(example.published[-1].partition(".")[2])
    *others, last = example.computed
    assert not example._replace(computed=(*others, last + unit)).agrees
