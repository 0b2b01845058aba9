"""Sections 3 and 4 of the notes: what is printed is wrong, and the reading taken is right."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.notes_cases import (
    assert_rejects,
    central_differences,
    normals,
    random_case,
    random_params,
)
from support.problems import assert_close, compiled

from fcnet import ACTIVATIONS, Layer, Params, backprop, example_loss, forward
from fcnet.notes import (
    activation_vjp,
    affine_vjp,
    backprop_two_layer,
    naive_two_layer_gradient,
    one_neuron,
    one_neuron_gradients,
    two_layer_loss,
)
from fcnet.notes.circuit import circuit_size

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.misprint("Section 3, title")
def test_forward_mode_is_no_backpropagation(key: Array) -> None:
    def ratio(differentiate, m: int) -> float:
        params, x, y = random_case(key, m, m)
        gradient = differentiate(two_layer_loss)
        return circuit_size(gradient, params, x, y) / circuit_size(two_layer_loss, params, x, y)

    for m in (2, 5):
        p = m * m + 2 * m + 1
        assert ratio(jax.grad, m) < 3
        assert p / 2 < ratio(jax.jacfwd, m)


@pytest.mark.misprint("Theorem 3.1, ReLU")
def test_relu_has_no_derivative_at_zero() -> None:
    """Its slopes are 0 and 1; and two ways to write t, slope 1, ask for different ReLU'(0)."""
    relu = ACTIVATIONS["relu"].function
    h = 1e-6
    assert (relu(jnp.array(h)) - relu(jnp.array(0.0))) / h == 1
    assert (relu(jnp.array(0.0)) - relu(jnp.array(-h))) / h == 0

    def slopes(relu) -> tuple[float, float]:
        """2 c and 2 c - c^2 for ReLU'(0) = c: right for c = 1/2, and for c = 1."""
        ways = (lambda t: relu(t) - relu(-t), lambda t: relu(t + relu(-t)) - relu(-t))
        values, grads = compiled(
            lambda t: [[jax.vmap(f(way))(t) for way in ways] for f in (lambda way: way, jax.grad)],
            np.array([-1.5, 0.0, 2.0]),
        )
        assert [value.tolist() for value in values] == [[-1.5, 0.0, 2.0]] * 2
        return tuple(grad[1].item() for grad in grads)

    assert slopes(relu) == (2, 1)
    assert slopes(jax.nn.relu) == (0, 0)
    assert slopes(lambda t: jnp.maximum(t, 0.0)) == (1, 0.75)


@pytest.mark.misprint("Footnote 4")
def test_zeros_are_not_free_in_a_dense_array() -> None:
    """x_1 x_2 is one operation whatever l is; the array of all l partials takes l writes."""

    def f(x: Array) -> Array:
        return x[0] * x[1]

    x = jnp.ones(10_000)
    assert circuit_size(f, x) == 1
    assert np.count_nonzero(jax.grad(f)(x)) == 2
    cost = jax.jit(jax.grad(f)).lower(x).compile().cost_analysis()
    assert cost["bytes accessed"] >= x.nbytes


@pytest.mark.misprint("Section 3.2, aim")
def test_the_gradient_is_that_of_the_loss() -> None:
    w, b, x, y = jnp.array([2.0, 1.0]), 0.5, np.array([1.0, 3.0]), 4.0
    o = one_neuron(w, b, x)
    dh = compiled(jax.grad(one_neuron, argnums=(0, 1)), w, b, x)

    def assert_gradients(reading) -> None:
        assert_close(one_neuron_gradients(w, b, x, y), reading)

    assert_gradients(jax.tree.map(lambda g: (o - y) * g, dh))
    assert_rejects(assert_gradients, dh)


def tied_network() -> tuple[Params, Array, Array]:
    """A dead layer, and no biases: z^[2] = 0 exactly."""
    return (
        (
            Layer(jnp.array([[-1.0, 0.0], [0.0, -1.0]]), jnp.zeros(2)),
            Layer(jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), jnp.zeros(3)),
            Layer(jnp.array([[1.0, -2.0, 3.0]]), jnp.zeros(1)),
        ),
        jnp.ones(2),
        jnp.ones(1),
    )


@pytest.mark.misprint("Section 3.2, 1{z >= 0}")
def test_the_derivative_at_a_tie_is_a_convention() -> None:
    """At z = 0 three programs that are right elsewhere give three gradients for b^[2]."""
    params, x, y = tied_network()

    def by_autodiff(relu) -> Params:
        activation = ACTIVATIONS["relu"]._replace(function=relu)
        return compiled(jax.grad(example_loss), params, x, y, activation=activation)

    reading = compiled(backprop, params, x, y)
    assert reading[1].b.tolist() == [-1, 2, -3]
    assert_close(by_autodiff(ACTIVATIONS["relu"].function), reading)
    assert by_autodiff(jax.nn.relu)[1].b.tolist() == [0, 0, 0]
    assert by_autodiff(lambda z: jnp.maximum(z, 0))[1].b.tolist() == [-0.5, 1, -1.5]
    differences = central_differences(lambda p: example_loss(p, x, y), params, 1e-5)
    assert_rejects(lambda g: assert_close(g, reading, 0.1), differences)
    assert_close(differences[1].b, jnp.array([-0.5, 1, -1.5]), 1e-4)


@pytest.mark.misprint("Section 3.3, output")
def test_an_inactive_unit_needs_no_output() -> None:
    first = Layer(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.zeros(2))
    gradient = jax.jit(backprop_two_layer)
    for w2, b2, y in itertools.product((1.0, -7.0), (0.0, 5.0), (3.0, -30.0)):
        head = Layer(np.array([[w2, w2]]), np.array([b2]))
        dW1 = np.asarray(gradient((first, head), np.ones(2), y)[0].W)
        assert (dW1[1] == 0).all()
        assert (dW1[0] != 0).all()


@pytest.mark.misprint("Section 3.3, (md)^2")
def test_partials_from_one_forward_pass_take_order_md(key: Array) -> None:
    """Three multiplications for each partial of W^[1], and none of the deltas is shared."""

    def from_stored(params: Params, x: Array, y: Array) -> Array:
        (W1, b1), (W2, b2) = params
        z = W1 @ x + b1
        o = (W2 @ jnp.maximum(z, 0) + b2)[0]
        mask = ACTIVATIONS["relu"].derivative(z)
        return (o - y) * jnp.ones_like(W1) * W2[0][:, None] * mask[:, None] * x

    for m in (2, 5):
        case = random_case(key, m, m)
        assert_close(compiled(from_stored, *case), compiled(backprop_two_layer, *case)[0].W)
        assert circuit_size(naive_two_layer_gradient, *case) > (m * m) ** 2
        assert circuit_size(from_stored, *case) < 12 * m * m


@pytest.mark.misprint("(3.12), scope")
def test_the_affine_rule_allows_a_bias_but_no_second_path(key: Array) -> None:
    W, b, u, g = normals(key, (3, 3), (3,), (3,), (3,))
    du = compiled(affine_vjp, W, u, g)[2]

    def assert_derivative(J) -> None:
        assert_close(du, compiled(jax.grad(J), u))

    assert_derivative(lambda u: jnp.dot(g, W @ u))
    assert_derivative(lambda u: jnp.dot(g, W @ u + b))
    assert_rejects(assert_derivative, lambda u: jnp.dot(g, W @ u + b + u))
    assert_rejects(assert_derivative, lambda u: jnp.dot(g, W @ u + b) + u @ u)
    assert_close(du + g, compiled(jax.grad(lambda u: jnp.dot(g, W @ u + b + u)), u))


@pytest.mark.misprint("Algorithm 4, line 3")
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_residual_belongs_behind_the_transpose(outputs: int, key: Array) -> None:
    """(o - y) W2^T: the same for 1 output, an error for 2, a silent transpose for 3 of 3 units."""
    params = random_params(key, (4, 3, outputs))
    x, y = np.ones(4), np.arange(1.0, outputs + 1)
    (W1, b1), (W2, _) = params
    z = W1 @ x + b1
    residual = compiled(forward, params, x) - y
    reading = compiled(backprop, params, x, y)[0].b

    def assert_delta(delta) -> None:
        assert_close(delta * (z >= 0), reading)

    assert_delta(W2.T @ residual)
    if outputs == 1:
        assert_delta((residual * W2.T)[:, 0])
    elif outputs == 2:
        with pytest.raises(ValueError, match="matmul"):
            residual @ W2.T
    else:
        assert_rejects(assert_delta, residual @ W2.T)


@pytest.mark.misprint("Section 3.4, derivation")
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_the_activation_rule_is_invoked_with_z(activation: str) -> None:
    z, g = np.array([-1.0, -0.5, 2.0]), np.array([1.0, 2.0, 3.0])
    sigma = ACTIVATIONS[activation].function
    rule = jax.jit(partial(activation_vjp, activation=activation))
    a, expected = compiled(lambda z, g: (sigma(z), *jax.vjp(sigma, z)[1](g)), z, g)

    def assert_rule(argument) -> None:
        assert_close(rule(argument, g), expected)

    assert_rule(z)
    assert_rejects(assert_rule, a)
    if activation == "relu":
        assert (activation_vjp(a, g) == g).all()  # 1{a >= 0} is always 1
