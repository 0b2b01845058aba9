"""The single neuron: figure 1's kink, and its gradient against autodiff, dead, active and tied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.notes_cases import assert_rejects
from support.problems import assert_close

from fcnet import Layer, forward
from fcnet.notes import kink, one_neuron, one_neuron_gradients, one_neuron_loss

pytestmark = pytest.mark.usefixtures("x64")

W, B = np.array([1.0, -2.0, 0.5]), 0.25
ACTIVE, DEAD = np.array([3.0, 1.0, -1.0]), np.array([-3.0, 1.0, -1.0])
TIED = np.array([1.0, 0.5, -0.5])  # W @ TIED + B is exactly 0
Y = 2.0


@pytest.mark.notes("(2.1)", "Figure 1")
@pytest.mark.parametrize(("w", "b"), [(2.0, -3.0), (-0.5, 4.0)])
def test_the_kink_is_where_the_line_crosses_zero(w: float, b: float) -> None:
    def assert_kinked(h) -> None:
        edge = -b / w
        inside = edge + np.sign(w) * np.array([0.5, 1.0, 4.0])
        outside = edge - np.sign(w) * np.array([0.5, 1.0, 4.0])
        draw = jax.jit(jax.vmap(h, in_axes=(None, None, 0)))
        assert_close(draw(w, b, inside), jnp.array(w * inside + b))
        assert not np.any(draw(w, b, outside))
        assert h(w, b, edge) == 0

    assert_kinked(kink)
    assert_rejects(assert_kinked, lambda w, b, x: w * x + b)
    assert_rejects(assert_kinked, lambda w, b, x: jnp.maximum(w * x, 0) + b)
    assert_rejects(assert_kinked, lambda w, b, x: kink(b, w, x))


@pytest.mark.notes("(2.1)")
def test_without_slope_the_kink_is_a_constant() -> None:
    assert kink(0.0, 3.0, -100.0) == kink(0.0, 3.0, 100.0) == 3
    assert kink(0.0, -3.0, 100.0) == 0


@pytest.mark.notes("(2.2)")
@pytest.mark.parametrize("x", [ACTIVE, DEAD, TIED], ids=["active", "dead", "tied"])
def test_a_neuron_is_a_one_layer_network_with_relu_at_the_output(x) -> None:
    def assert_is(network) -> None:
        assert network(x)[0] == one_neuron(W, B, x)

    layer = Layer(jnp.array(W)[None, :], jnp.array([B]))
    assert_is(lambda x: forward((layer,), x, output_activation="relu"))
    assert_is(lambda x: forward((layer, Layer(jnp.ones((1, 1)), jnp.zeros(1))), x))
    if x is DEAD:
        assert_rejects(assert_is, lambda x: forward((layer,), x))


@pytest.mark.notes("(2.1)", "(2.2)")
def test_one_input_is_the_kink() -> None:
    for x in (-1.0, 0.125, 3.0):
        assert one_neuron(np.array([2.0]), -0.25, np.array([x])) == kink(2.0, -0.25, x)


@pytest.mark.notes("(3.4)", "(3.5)", "(3.6)")
def test_the_loss_is_half_the_squared_residual() -> None:
    assert one_neuron_loss(W, B, ACTIVE, Y) == (3 - 2 - 0.5 + 0.25 - 2) ** 2 / 2
    assert one_neuron_loss(W, B, DEAD, Y) == 2
    for t in (-1.5, 0.0, 2.0):
        assert one_neuron_loss(W, B, ACTIVE, one_neuron(W, B, ACTIVE) + t) == t**2 / 2


def neuron_gradients(error, mask):
    """The displays below (3.7), of a residual and an indicator that may be wrong."""

    def gradients(w, b, x, y):
        z = jnp.array(w @ x + b)
        shared = error(jnp.maximum(z, 0), y) * mask(z, jnp.maximum(z, 0))
        return shared * x, shared

    return gradients


def residual(o, y):
    return o - y


WRONG = {
    "sign": neuron_gradients(lambda o, y: y - o, lambda z, a: z >= 0),
    "factor": neuron_gradients(lambda o, y: 2 * (o - y), lambda z, a: z >= 0),
    "no indicator": neuron_gradients(residual, lambda z, a: z == z),
    "indicator of a": neuron_gradients(residual, lambda z, a: a >= 0),
    "strict indicator": neuron_gradients(residual, lambda z, a: z > 0),
    "half at the tie": neuron_gradients(residual, lambda z, a: jnp.heaviside(z, 0.5)),
}


BY_AUTODIFF = jax.jit(jax.grad(one_neuron_loss, argnums=(0, 1)))


def assert_gradients(gradients) -> None:
    """Against `jax.grad`, for an active neuron, a dead one (exact zeros) and a tie."""
    for x in (ACTIVE, TIED):
        assert_close(gradients(W, B, x, Y), BY_AUTODIFF(W, B, x, Y))
    dw, db = gradients(W, B, DEAD, Y)
    assert (dw == 0).all()
    assert db == 0


@pytest.mark.notes("(3.7)")
def test_gradients() -> None:
    assert_gradients(one_neuron_gradients)
    assert_gradients(neuron_gradients(residual, lambda z, a: z >= 0))


@pytest.mark.notes("(3.7)")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_gradients_are_noticed(wrong) -> None:
    assert_rejects(assert_gradients, wrong)


@pytest.mark.notes("(3.7)")
def test_at_a_tie_the_neuron_counts_as_active() -> None:
    dw, db = one_neuron_gradients(W, B, TIED, Y)
    assert dw.tolist() == (-Y * TIED).tolist()
    assert db == -Y


@pytest.mark.notes("(3.7)")
def test_no_residual_no_gradient() -> None:
    dw, db = one_neuron_gradients(W, B, ACTIVE, one_neuron(W, B, ACTIVE))
    assert (dw == 0).all()
    assert db == 0


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("w", "b", "x", "error", "match"),
    [
        (W, np.ones(1), ACTIVE, ValueError, r"b has shape \(1,\), expected \(\)"),
        (W, B, ACTIVE[:2], ValueError, r"x has shape \(2,\), expected \(d,\) = \(3,\)"),
        (W, B, np.ones((4, 3)), ValueError, r"x has shape \(4, 3\).*jax.vmap"),
        (W[:, None], B, ACTIVE, ValueError, r"w has shape \(3, 1\), expected \(d,\)"),
        (W, 1, ACTIVE, TypeError, "b must be floating, got int"),
        (W.astype(np.float32), np.float64(B), ACTIVE, TypeError, "b is float64 but w is float32"),
        (W, np.nan, ACTIVE, ValueError, "b must be finite"),
        (W, B, np.array(["a", "b", "c"]), TypeError, "x must hold real numbers"),
    ],
)
def test_bad_input(w, b, x, error, match) -> None:
    for function in (one_neuron, lambda *args: one_neuron_gradients(*args, Y)):
        with pytest.raises(error, match=match):
            function(w, b, x)
