"""The chain rule with fan-out, and the rules for affine maps and activations against autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.notes_cases import assert_rejects, normals, random_case
from support.problems import assert_close, compiled

from fcnet import ACTIVATIONS, Layer, Params
from fcnet.notes import activation_vjp, affine_vjp, backprop_two_layer, chain_rule

pytestmark = pytest.mark.usefixtures("x64")


def g(theta: Array) -> Array:
    """theta_1 is in all three, theta_2 in one, theta_4 in none."""
    return jnp.stack([theta[0] * theta[1], jnp.sin(theta[0]), theta[0] ** 2 + theta[2]])


def cost(g: Array) -> Array:
    return g[0] * g[1] + jnp.exp(g[2] / 4)


@pytest.mark.notes("(3.1)", "(3.2)", "(3.3)")
def test_every_path_adds_its_part() -> None:
    theta = jnp.array([0.7, -1.3, 2.0, 5.0])
    partials = compiled(lambda theta: (jax.grad(cost)(g(theta)), jax.jacfwd(g)(theta)), theta)
    expected = compiled(jax.grad(lambda theta: cost(g(theta))), theta)

    def assert_chained(rule) -> None:
        assert_close(rule(*partials), expected)

    assert_chained(chain_rule)
    assert chain_rule(*partials)[3] == 0
    for wrong in (
        lambda dJ_dg, dg: dg[-1] * dJ_dg[-1],  # the last path overwrites the others
        lambda dJ_dg, dg: dg[0] * dJ_dg[0],
        lambda dJ_dg, dg: dg.sum(axis=0) * dJ_dg.sum(),
        lambda dJ_dg, dg: dg[:, :3] @ dJ_dg,
    ):
        assert_rejects(assert_chained, wrong)


@pytest.mark.notes("(3.3)")
@pytest.mark.parametrize("t", [0.5, -2.0])
def test_fan_out(t: float) -> None:
    """g = (t, t^2) and J = g_1 g_2 = t^3: 3 t^2, of which t^2 by the first path."""
    assert chain_rule(np.array([t**2, t]), np.array([[1.0], [2 * t]])).tolist() == [3 * t**2]


@pytest.mark.notes("(3.3)")
def test_one_intermediate_variable() -> None:
    assert chain_rule(np.array([3.0]), np.array([[1.0, -2.0]])).tolist() == [3.0, -6.0]


SHAPES = [(2, 3), (3, 3), (1, 4), (4, 1)]


def affine_case(shape: tuple[int, int], key: Array) -> tuple[Array, Array, Array, Array]:
    m, d = shape
    W, b, u, dJ_dz = normals(key, (m, d), (m,), (d,), (m,))
    return W, b, u, dJ_dz


@pytest.mark.notes("(3.11)", "(3.12)", "(3.13)", "(3.14)")
@pytest.mark.parametrize("shape", SHAPES)
def test_affine_rule(shape, key: Array) -> None:
    W, b, u, dJ_dz = map(np.asarray, affine_case(shape, key))

    def by_autodiff(W, b, u, dJ_dz):
        return jax.vjp(lambda W, b, u: W @ u + b, W, b, u)[1](dJ_dz)

    expected = compiled(by_autodiff, W, b, u, dJ_dz)

    def assert_rule(rule) -> None:
        assert_close(rule(W, u, dJ_dz), expected)

    assert_rule(partial(compiled, affine_vjp))
    outer, dot = np.outer, np.dot
    wrong = [
        lambda W, u, g: (outer(g, u).T, g, W.T @ g),
        lambda W, u, g: (outer(g, u), 2 * g, W.T @ g),
        lambda W, u, g: (outer(g, u), g[:, None], W.T @ g),
        lambda W, u, g: (outer(g, u), g, -(W.T @ g)),
    ]
    if shape == (3, 3):  # the transpose that only a rectangle gives away by its shape
        wrong.append(lambda W, u, g: (outer(g, u), g, dot(W, g)))
    for rule in wrong:
        assert_rejects(assert_rule, rule)


@pytest.mark.notes("(3.12)")
def test_a_second_path_from_the_input_adds_its_part(key: Array) -> None:
    """(3.12) is for a J that depends on u through z alone: J(z + u) has two paths."""
    W, b, u, direction = affine_case((3, 3), key)
    du = compiled(affine_vjp, W, u, direction)[2]

    def residual(u):
        return jnp.dot(direction, W @ u + b + u)

    expected = compiled(jax.grad(residual), u)
    assert_close(du + np.asarray(direction), expected)
    assert_rejects(lambda du: assert_close(du, expected), du)


Z = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
DJ_DA = np.array([1.0, -2.0, 3.0, -4.0, 5.0])


@pytest.mark.notes("(3.15)")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_rule(name: str) -> None:
    sigma = ACTIVATIONS[name].function
    rule = partial(compiled, partial(activation_vjp, activation=name))
    a, expected = compiled(lambda z, g: (sigma(z), *jax.vjp(sigma, z)[1](g)), Z, DJ_DA)

    def assert_rule(dJ_dz) -> None:
        assert_close(dJ_dz, expected)

    assert_rule(rule(Z, DJ_DA))
    assert_rejects(assert_rule, -rule(Z, DJ_DA))
    if name != "identity":
        assert_rejects(assert_rule, DJ_DA)
    if name not in ("identity", "leaky_relu"):  # there sigma'(a) = sigma'(z)
        assert_rejects(assert_rule, rule(a, DJ_DA))


@pytest.mark.notes("(3.15)")
def test_the_relu_rule_at_a_tie() -> None:
    assert activation_vjp(np.array([-1.0, -0.0, 0.0, 1.0]), np.ones(4)).tolist() == [0, 1, 1, 1]


@pytest.mark.notes("Algorithm 4", "(3.12)", "(3.13)", "(3.14)", "(3.15)")
def test_the_rules_make_up_algorithm_4(key: Array) -> None:
    params, x, y = random_case(key)
    (W1, b1), (W2, b2) = params

    reading = compiled(backprop_two_layer, params, x, y)

    def by_rules(mask_at) -> Params:
        z = W1 @ x + b1
        a = jnp.maximum(z, 0)
        dW2, db2, da = affine_vjp(W2, a, W2 @ a + b2 - y)
        dW1, db1, _ = affine_vjp(W1, x, activation_vjp(mask_at(z, a), da))
        return Layer(dW1, db1), Layer(dW2, db2)

    def assert_algorithm_4(gradient) -> None:
        assert_close(gradient, reading)

    assert_algorithm_4(compiled(partial(by_rules, lambda z, a: z)))
    assert_rejects(assert_algorithm_4, compiled(partial(by_rules, lambda z, a: a)))


@pytest.mark.untyped
def test_bad_input() -> None:
    W = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"dJ_dz has shape \(3,\), expected \(m,\) = \(2,\)"):
        affine_vjp(W, np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"u has shape \(3, 1\), expected \(d,\) = \(3,\)"):
        affine_vjp(W, np.ones((3, 1)), np.ones(2))
    with pytest.raises(ValueError, match=r"dg_dtheta has shape \(3, 2\), expected \(k, p\)"):
        chain_rule(np.ones(2), W.T)
    with pytest.raises(ValueError, match=r"dJ_da has shape \(3, 1\), expected \(m,\) = \(3,\)"):
        activation_vjp(np.ones(3), np.ones((3, 1)))
    with pytest.raises(ValueError, match="unknown activation 'rely'"):
        activation_vjp(np.ones(3), np.ones(3), activation="rely")
    with pytest.raises(TypeError, match="z must be floating"):
        activation_vjp(np.arange(3), np.ones(3))
