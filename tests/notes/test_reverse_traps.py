"""The traps in JAX's circuits, the uses of a gradient as a function, and what has no rule."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax
from support.problems import assert_close

from fcnet import example_loss, init
from fcnet.activations import relu
from fcnet.notes.circuit import circuit_size
from fcnet.notes.reverse import reverse_gradient

pytestmark = pytest.mark.usefixtures("x64")

Gradient = Callable[[Callable[..., Any]], Callable[..., Any]]
GRADIENTS: tuple[Gradient, ...] = (reverse_gradient, jax.grad)

x = np.array([0.5, -2.0, 3.0])


@pytest.mark.notes("Theorem 3.1", "(3.3)")
@pytest.mark.parametrize(
    "f",
    [
        pytest.param(lambda x: x[0] * x[0] * x[1], id="a value used twice by one operation"),
        pytest.param(lambda x: (x[1] * x).sum(), id="a number repeated along an array"),
        pytest.param(lambda x: (x / (1 + x[:1] ** 2)).sum(), id="an axis of 1 repeated"),
        pytest.param(lambda x: (3.0 - x) @ (x / 2.0), id="literals"),
        pytest.param(lambda x: jnp.sum(x + np.eye(3)) * 2, id="a constant of its own"),
        pytest.param(lambda x: jax.jit(lambda x: jax.jit(jnp.sin)(x) * x)(x).sum(), id="nested"),
        pytest.param(lambda x: jax.jit(lambda x, y: (y, x * y))(x, x)[1].sum(), id="results"),
        pytest.param(lambda x: jax.checkpoint(jnp.sin)(x).sum(), id="checkpoint"),
        pytest.param(lambda x: jax.nn.softplus(x).sum(), id="custom_jvp of two operands"),
        pytest.param(lambda x: jax.nn.logsumexp(x), id="stop_gradient and a result not used"),
        pytest.param(lambda x: jnp.where(x > 0, x, 0).sum() + x[1], id="truth values"),
        pytest.param(lambda x: sum(x), id="entries one by one"),
        pytest.param(lambda x: x[x.argmax()] * x[0], id="an address that depends on the input"),
        pytest.param(lambda x: x[0], id="a result that is an entry"),
        pytest.param(lambda x: x.sum() + 0 * x[2], id="an adjoint of zero"),
    ],
)
def test_traps(f: Callable[[Any], Array]) -> None:
    gradient = reverse_gradient(f)
    assert_close(gradient(x), jax.grad(f)(x))
    assert_close(jax.jit(gradient)(x), jax.grad(f)(x))


@pytest.mark.notes("Footnote 4")
@pytest.mark.parametrize(
    "f",
    [lambda x: 3.0, lambda x: jnp.sum(np.eye(3)), lambda x: lax.stop_gradient(x).sum()],
    ids=["a literal", "a constant", "a stopped gradient"],
)
def test_a_constant_has_the_gradient_zero(f: Callable[[Any], Any]) -> None:
    f_of_array = lambda x: jnp.asarray(f(x))  # noqa: E731
    assert reverse_gradient(f_of_array)(x).tolist() == [0, 0, 0]
    assert circuit_size(reverse_gradient(f_of_array), x) == 0


def test_the_result_may_be_the_input() -> None:
    assert reverse_gradient(lambda x: x)(2.0) == 1


@pytest.mark.notes("Footnote 4")
def test_inputs_that_are_not_used_cost_nothing() -> None:
    """Also in one array, and also where the array is used entry by entry."""
    f = lambda x: x[0] * x[1]  # noqa: E731
    wide = jax.ShapeDtypeStruct((1_000_000,), np.float64)
    assert circuit_size(reverse_gradient(f), wide) <= 5 * circuit_size(f, wide) == 5

    g = lambda x: sum(x[i] * x[i + 1] for i in range(200))  # noqa: E731
    assert circuit_size(reverse_gradient(g), wide) <= 5 * circuit_size(g, wide)


def test_several_results_of_a_custom_rule() -> None:
    @jax.custom_jvp
    def polar(r: Array, t: Array, n: Array) -> tuple[Array, Array]:
        return n * r * jnp.cos(t), n * r * jnp.sin(t)

    @polar.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (r, t, n), (dr, dt, _) = primals, tangents
        x, y = polar(r, t, n)
        return (x, y), (x / r * dr - y * dt, y / r * dr + x * dt + 7 * dt)  # 7: it is this rule

    f = lambda v: polar(v[0], v[1], jnp.array(2))[1] * v[0]  # noqa: E731
    assert_close(reverse_gradient(f)(x), jax.grad(f)(x))


def test_a_gradient_can_be_mapped(key: Array) -> None:
    params = init(key, (3, 4, 2))
    X, Y = (
        jax.random.normal(k, (5, m)) for k, m in zip(jax.random.split(key), (3, 2), strict=True)
    )
    f = partial(example_loss, activation="tanh")
    mapped, expected = (
        jax.jit(jax.vmap(gradient(f), in_axes=(None, 0, 0))) for gradient in GRADIENTS
    )
    assert_close(mapped(params, X, Y), expected(params, X, Y))


@pytest.mark.parametrize("outer", GRADIENTS)
def test_a_gradient_can_be_differentiated_again(outer: Gradient) -> None:
    def curvature(inner: Gradient) -> Callable[[Any], Array]:
        gradient = inner(lambda x: jnp.sum(jnp.sin(x) * x[0]) * jnp.exp(relu(x[2]) / 4) / x[1])
        return lambda x: gradient(x) @ jnp.array([1.0, -2.0, 0.5])

    twice = jax.jit(outer(curvature(reverse_gradient)))
    assert_close(twice(jnp.asarray(x)), jax.jit(jax.grad(curvature(jax.grad)))(jnp.asarray(x)))


def test_single_precision_stays_single() -> None:
    x = jnp.array([0.5, -2.0, 3.0], np.float32)
    gradient = reverse_gradient(lambda x: (jnp.tanh(x) * 2.0 + relu(x) ** 2) @ x)(x)
    assert gradient.dtype == np.float32
    assert_close(gradient, jax.grad(lambda x: (jnp.tanh(x) * 2.0 + relu(x) ** 2) @ x)(x))


@jax.custom_vjp
def doubled(x: Array) -> Array:
    return 2 * x


doubled.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda x: jnp.sort(x)[0], "sort"),
        (lambda x: jnp.cumsum(x)[2], "cumsum"),
        (lambda x: lax.fori_loop(0, 3, lambda _, x: x * x, x)[0], "scan"),
        (lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)[0], "cond"),
        (lambda x: doubled(x)[0], "custom_vjp_call"),
    ],
)
def test_an_operation_without_a_rule_is_named(f: Callable[[Any], Array], name: str) -> None:
    with pytest.raises(ValueError, match=f"no rule for the primitive '{name}' .* abs, add, "):
        reverse_gradient(f)(x)


def test_an_operation_off_the_way_needs_no_rule() -> None:
    assert reverse_gradient(lambda x: (jnp.sort(x) > 0)[0] + jnp.sum(x))(x).tolist() == [1, 1, 1]


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reverse_gradient(3), "f must be a function, got int"),
        (lambda: reverse_gradient(jnp.sum)(np.arange(3)), "floating arrays, got int"),
        (lambda: reverse_gradient(jnp.sum)(x + 1j), "floating arrays, got complex"),
        (lambda: reverse_gradient(jnp.sum)("x"), "must be an array or a number, got str"),
        (lambda: reverse_gradient(jnp.sin)(x), "f must return one real number"),
        (lambda: reverse_gradient(lambda x: (x[0], x[1]))(x), "f must return one real number"),
        (lambda: reverse_gradient(lambda x: x.argmax())(x), "f must return one real number"),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
