"""Algorithm 5 against autodiff and against exact fractions, ties at z = 0 included."""

from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.problems import (
    Case,
    any_activation,
    any_loss,
    assert_close,
    compiled,
    problem,
    problem_in_numpy,
    relative_errors,
)

import fcnet
from fcnet import ACTIVATIONS, LOSSES, Activation

# All sizes different, for one example and for a batch; all equal, and equal to n; a layer of width
# 1; r = 1. With n = 1 they are for the functions of one example.
SHAPES = [((5, 4, 3, 2), 1), ((5, 4, 3, 2), 7), ((3, 3, 3), 3), ((3, 1, 2), 64), ((4, 1), 1)]
ONE_SHAPE = [((3, 1, 2), 7)]  # each costs four large programs, with all rows of the tables


def cases(shapes: list[Any]) -> st.SearchStrategy[Case]:
    return st.builds(
        lambda shape, **rest: Case(*shape, **rest),
        st.sampled_from(shapes),
        activation=st.sampled_from(list(ACTIVATIONS)),
        output_activation=st.sampled_from(list(ACTIVATIONS)),
        loss=st.sampled_from(list(LOSSES)),
        seed=st.integers(0, 2**32 - 1),
    )


def by_hand(params: Any, X: Any, Y: Any, **choices: Any) -> Any:
    if len(X) == 1:
        return fcnet.backprop(params, X[0], Y[0], **choices)
    return fcnet.batch_backprop(params, X, Y, **choices)


def by_autodiff(params: Any, X: Any, Y: Any, **choices: Any) -> Any:
    if len(X) == 1:
        return jax.grad(fcnet.example_loss)(params, X[0], Y[0], **choices)
    return jax.grad(fcnet.mean_loss)(params, X, Y, **choices)


@partial(jax.jit, static_argnums=0)
def with_any(method: Any, arguments: Any, sigma: Any, sigma_r: Any, loss: Any) -> Any:
    """`method` with rows of the tables given by number: it compiles once for all of them."""
    return method(
        *arguments,
        activation=any_activation(sigma),
        output_activation=any_activation(sigma_r),
        loss=any_loss(loss),
    )


def both(case: Case, dtype: str) -> list[Any]:
    numbers = [
        list(table).index(choice)
        for table, choice in zip(
            (ACTIVATIONS, ACTIVATIONS, LOSSES), case.choices.values(), strict=True
        )
    ]
    with jax.enable_x64(dtype == "float64"):
        arguments = problem(case)
        return [with_any(method, arguments, *numbers) for method in (by_hand, by_autodiff)]


def check_agreement(case: Case) -> None:
    assume(case.sizes[-1] > 1 or case.loss != "softmax_cross_entropy")
    (hand64, auto64), (hand32, auto32) = both(case, "float64"), both(case, "float32")
    norm = max(np.linalg.norm(leaf) for leaf in jax.tree.leaves(auto64))
    # Left out: what has no gradient, and sums that cancel, where autodiff itself has lost digits.
    rounded, exact = jax.tree.map(np.float64, auto32), jax.tree.map(np.asarray, auto64)
    assume(norm > 1e-2 and max(relative_errors(rounded, exact).values()) < 1e-6)
    assert_close(hand64, auto64, 1e-13)
    assert_close(hand32, auto32, 1e-5)


@pytest.mark.notes("Algorithm 5", "(3.16)")
@settings(max_examples=60)
@given(case=cases(ONE_SHAPE))
def test_agrees_with_autodiff(case: Case) -> None:
    check_agreement(case)


@pytest.mark.slow
@settings(max_examples=400)
@given(case=cases(SHAPES))
def test_agrees_with_autodiff_in_many_cases(case: Case) -> None:
    check_agreement(case)


@pytest.mark.notes("Algorithm 5", "(3.12)", "(3.13)", "(3.14)", "(3.15)")
@pytest.mark.parametrize(
    "case",
    [
        Case(activation="gelu", output_activation="tanh", loss="logistic"),
        Case(activation="relu", loss="softmax_cross_entropy"),
        Case((4, 2), output_activation="sigmoid"),
        Case((3, 3, 3), n=3, activation="tanh", loss="poisson"),
    ],
    ids=str,
)
def test_agrees_with_autodiff_of_the_named_choices(fc: Any, case: Case) -> None:
    with jax.enable_x64(True):
        params, X, Y = problem_in_numpy(case)
        for backward, forward, x, y in (
            (fc.backprop, fc.example_loss, X[0], Y[0]),
            (fc.batch_backprop, fc.mean_loss, X, Y),
        ):
            assert_close(
                compiled(backward, params, x, y, **case.choices),
                compiled(jax.grad(forward), params, x, y, **case.choices),
            )


def exact_cost(layers: Any, x: Any, y: Any, masks: Any = None) -> tuple[Fraction, list[Any]]:
    """J of a ReLU network with masks as given, else 1{z >= 0}; and its pre-activations."""
    *hidden, (W_r, b_r) = layers
    a, zs = x, []
    for k, (W, b) in enumerate(hidden):
        zs.append(W @ a + b)
        a = np.where(zs[-1] >= 0 if masks is None else masks[k], zs[-1], Fraction(0))
    return ((W_r @ a + b_r - y) ** 2).sum() / 2, zs


def exact_gradient(layers: Any, x: Any, y: Any) -> Any:
    """The gradient without rounding and without backpropagation, under ReLU'(0) = 1.

    While the masks 1{z >= 0} are held, J is quadratic in any one parameter, so that a central
    difference with a step of 1 is the derivative.
    """
    masks = [z >= 0 for z in exact_cost(layers, x, y)[1]]
    gradient = jax.tree.map(np.zeros_like, layers)
    for array, slope in zip(jax.tree.leaves(layers), jax.tree.leaves(gradient), strict=True):
        for i in np.ndindex(array.shape):
            array[i] += 1
            above, _ = exact_cost(layers, x, y, masks)
            array[i] -= 2
            below, _ = exact_cost(layers, x, y, masks)
            array[i] += 1
            slope[i] = (above - below) / 2
    return gradient


@pytest.mark.notes("Algorithm 5")
def test_equals_exact_fractions_ties_included(fc: Any) -> None:
    rng = np.random.default_rng(0)
    sizes, ties = (3, 4, 2, 2), 0
    backward = jax.jit(fc.backprop)
    with jax.enable_x64(True):
        for _ in range(30):
            shapes = [((m, m_below), (m,)) for m_below, m in pairwise(sizes)]
            layers = jax.tree.map(
                lambda shape: rng.integers(-2, 3, shape) / 2.0,
                shapes,
                is_leaf=lambda node: isinstance(node[0], int),
            )
            x, y = rng.integers(-2, 3, 3) * 1.0, rng.integers(-2, 3, 2) / 2.0
            fractions = np.vectorize(Fraction, otypes=[object])
            exact = jax.tree.map(fractions, layers), fractions(x), fractions(y)
            ties += any((z == 0).any() for z in exact_cost(*exact)[1])
            got, expected = backward(layers, x, y), exact_gradient(*exact)
            for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
                np.testing.assert_array_equal(a, e.astype(float))
    assert 10 < ties < 30


@pytest.mark.notes("Algorithm 5")
def test_a_dead_layer_below_zero_biases_ties_the_next(fc: Any) -> None:
    one = jnp.ones((2, 2))
    W3 = jnp.array([[-1.0, 2.0, -3.0]])
    params = ((-one, jnp.zeros(2)), (jnp.ones((3, 2)), jnp.zeros(3)), (W3, jnp.ones(1)))
    x, y = jnp.ones(2), jnp.zeros(1)
    for gradient in (fc.backprop, jax.grad(fc.example_loss)):
        assert compiled(gradient, params, x, y)[1][1].tolist() == [-1.0, 2.0, -3.0]
    other = Activation("relu of JAX", jax.nn.relu, lambda z: (z > 0).astype(z.dtype))
    assert compiled(fc.backprop, params, x, y, activation=other)[1][1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.notes("(3.16)")
def test_a_delta_is_the_gradient_for_something_added_to_z(fc: Any) -> None:
    case = Case(activation="silu", output_activation="sigmoid")
    sigma, sigma_r = ACTIVATIONS["silu"].function, ACTIVATIONS["sigmoid"].function
    with jax.enable_x64(True):
        params, X, Y = problem_in_numpy(case)

        def cost(added: Any) -> Any:
            a = X[0]
            for (W, b), e in zip(params[:-1], added[:-1], strict=True):
                a = sigma(W @ a + b + e)
            o = sigma_r(params[-1].W @ a + params[-1].b + added[-1])
            return jnp.sum((o - Y[0]) ** 2) / 2

        expected = compiled(jax.grad(cost), tuple(jnp.zeros_like(b) for _, b in params))
        choices = {"activation": "silu", "output_activation": "sigmoid"}
        trace = compiled(fc.forward_trace, params, X[0], **choices)
        assert_close(compiled(fc.deltas, params, trace, Y[0], **choices), expected)


@pytest.mark.notes("(3.13)", "(3.14)", "Footnote 6")
def test_gradients_are_outer_products_in_the_parameters_shapes(fc: Any) -> None:
    params, X, Y = problem_in_numpy(Case())
    trace = compiled(fc.forward_trace, params, X[0])
    delta = compiled(fc.deltas, params, trace, Y[0])
    gradient = compiled(fc.gradients, delta, trace)
    for k, (layer, param) in enumerate(zip(gradient, params, strict=True)):
        assert_close(layer.W, np.outer(delta[k], trace.a[k]))
        np.testing.assert_array_equal(layer.b, delta[k])
        assert (layer.W.shape, layer.b.shape) == (param.W.shape, param.b.shape)


@pytest.mark.misprint("Algorithm 5, line 2")
def test_line_2_as_printed_gives_no_gradient_at_all() -> None:
    params, X, Y = problem_in_numpy(Case())
    trace = compiled(fcnet.forward_trace, params, X[0])
    printed = compiled(fcnet.deltas, params, trace, trace.z[-1], loss="squared_error")  # z^[r] - o
    for gradient, is_any in (
        (compiled(fcnet.gradients, printed, trace), False),
        (compiled(fcnet.backprop, params, X[0], Y[0]), True),
    ):
        assert {bool(np.any(leaf)) for leaf in jax.tree.leaves(gradient)} == {is_any}


@pytest.mark.misprint("Algorithm 5, line 3")
@pytest.mark.parametrize("sizes", [(5, 4, 3, 2), (4, 2)])
def test_the_loop_as_printed_leaves_out_layer_1(sizes: tuple[int, ...]) -> None:
    r = len(sizes) - 1
    written = {k + 1 for k in range(r - 1, 0, -1)}  # line 5 writes layer k + 1
    params, X, Y = problem_in_numpy(Case(sizes))
    gradient = compiled(fcnet.backprop, params, X[0], Y[0])
    assert {k for k, layer in enumerate(gradient, 1) if np.any(layer.W)} == written | {1}


@pytest.mark.parametrize("container", [list, tuple])
def test_the_gradient_comes_in_the_structure_of_the_parameters(container: type) -> None:
    params, X, Y = problem_in_numpy(Case())
    given = container(tuple(layer) for layer in params)
    for gradient, layers in (
        (compiled(fcnet.backprop, given, X[0], Y[0]), given),
        (compiled(fcnet.batch_backprop, given, X, Y), given),
        (compiled(fcnet.backprop, params, X[0], Y[0]), params),
    ):
        assert jax.tree.structure(gradient) == jax.tree.structure(layers)


def test_half_precision_stays_half() -> None:
    params, X, Y = problem(Case(), jnp.bfloat16)
    gradient = compiled(fcnet.batch_backprop, params, X, Y)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.bfloat16)}
