"""The table of rules, row by row, against autodiff."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax
from support.problems import assert_close, compiled

from fcnet.activations import relu
from fcnet.notes import reverse
from fcnet.notes.reverse import reverse_gradient
from fcnet.notes.rules import RULES

pytestmark = pytest.mark.usefixtures("x64")

# the inputs of each row: positive, without ties, all entries different
A = np.array([[0.7, 1.9, 0.4], [1.3, 0.2, 2.6]])
B = np.array([[1.1, 0.3, 2.2], [0.9, 1.7, 0.8]])

ROWS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "exp": lambda a, b: jnp.exp(a),
    "log": lambda a, b: jnp.log(a),
    "sin": lambda a, b: jnp.sin(a),
    "cos": lambda a, b: jnp.cos(a),
    "abs": lambda a, b: jnp.abs(a - b),
    "add_any": lambda a, b: jax.vjp(lambda a: a * a, a)[1](b)[0],
    "erf": lambda a, b: lax.erf(a),
    "erfc": lambda a, b: lax.erfc(a),
    "expm1": lambda a, b: jnp.expm1(a),
    "integer_pow": lambda a, b: a**3 + b**-2,
    "log1p": lambda a, b: jnp.log1p(a),
    "logistic": lambda a, b: jax.nn.sigmoid(a),
    "max": lambda a, b: jnp.maximum(a, b),
    "min": lambda a, b: jnp.minimum(a, b),
    "neg": lambda a, b: -a,
    "pow": lambda a, b: a**b,
    "rsqrt": lambda a, b: lax.rsqrt(a),
    "select_n": lambda a, b: jnp.where(a > b, a, 3 * b),
    "sqrt": lambda a, b: jnp.sqrt(a),
    "square": lambda a, b: jnp.square(a),
    "tan": lambda a, b: jnp.tan(a),
    "tanh": lambda a, b: jnp.tanh(a),
    "dot_general": lambda a, b: a @ b.T,
    "reduce_max": lambda a, b: a.max(0),
    "reduce_min": lambda a, b: a.min(1),
    "reduce_sum": lambda a, b: a.sum(1),
    "broadcast_in_dim": lambda a, b: jnp.broadcast_to(a[:, :1, None], (2, 3, 4)),
    "concatenate": lambda a, b: jnp.concatenate([a, 2 * b, a], 1),
    "convert_element_type": lambda a, b: a.astype(np.float32),
    "copy": lambda a, b: jnp.copy(a),
    "dynamic_slice": lambda a, b: lax.dynamic_slice(a, (0, 1), (2, 2)),
    "dynamic_update_slice": lambda a, b: lax.dynamic_update_slice(a, b[:1, 1:], (1, 1)),
    "pad": lambda a, b: lax.pad(a, b[0, 0], ((1, -1, 0), (-1, 2, 1))),
    "reshape": lambda a, b: a.reshape(3, 2),
    "rev": lambda a, b: a[:, ::-1],
    "slice": lambda a, b: a[:, 1:] + 2 * a[:, :2] + a[:, ::2],
    "split": lambda a, b: jnp.split(a, [1], axis=1)[1],
    "squeeze": lambda a, b: jnp.squeeze(a[:1], 0),
    "stack": lambda a, b: jnp.stack([a, 2 * b], 1),
    "transpose": lambda a, b: a.T,
    "unstack": lambda a, b: jnp.unstack(a, axis=1)[2],
    # flat: beside a term that is not
    "ceil": lambda a, b: jnp.ceil(a) * b,
    "floor": lambda a, b: jnp.floor(a) * b,
    "round": lambda a, b: jnp.round(a) * b,
    "sign": lambda a, b: jnp.sign(a - b) * b,
    "stop_gradient": lambda a, b: lax.stop_gradient(a) * b,
}


def weighed(row: Callable[[Any, Any], Array], inputs: tuple[Array, Array]) -> Array:
    """One number out of a row's array, in which every entry has a weight of its own."""
    v = row(*inputs)
    return jnp.sum(v * np.sin(1.0 + np.arange(v.size)).reshape(v.shape).astype(v.dtype))


def gradient_of_row(differentiate: Callable[[Any], Any], name: str) -> Any:
    return compiled(differentiate(partial(weighed, ROWS[name])), (A, B))


def test_every_rule_has_a_row_here() -> None:
    assert set(ROWS) == set(RULES)


@pytest.mark.parametrize("name", ROWS)
def test_every_rule_is_right_and_no_other_value_would_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right as it is; and if its contributions are 1 % off, or missing, or 1 instead of none."""
    uses: list[str] = []

    def noting(*values: Any, **parameters: Any) -> Any:
        uses.append(name)
        return RULES[name](*values, **parameters)

    def wrong(*values: Any, **parameters: Any) -> Any:
        contributions = RULES[name](*values, **parameters)
        operands = values[2:]
        return [spoilt(c, a) for c, a in zip(contributions, operands, strict=True)]

    expected = gradient_of_row(jax.grad, name)
    monkeypatch.setattr(reverse, "RULES", {**RULES, name: noting})
    assert_close(gradient_of_row(reverse_gradient, name), expected)
    assert uses
    monkeypatch.setattr(reverse, "RULES", {**RULES, name: wrong})
    with pytest.raises(AssertionError):
        assert_close(gradient_of_row(reverse_gradient, name), expected)


def spoilt(contribution: Any, operand: Array) -> Any:
    if contribution is None:
        return jnp.ones_like(operand)
    if isinstance(contribution, reverse.Block):
        return contribution._replace(entries=1.01 * contribution.entries)
    return 1.01 * contribution


@pytest.mark.parametrize(
    "dimension_numbers",
    [
        (((), ()), ((), ())),
        (((1,), (1,)), ((), ())),
        (((0, 1), (0, 1)), ((), ())),
        (((1, 0), (1, 0)), ((), ())),
        (((1,), (1,)), ((0,), (0,))),
        (((), ()), ((1,), (1,))),
    ],
)
def test_sums_of_products_over_any_axes(dimension_numbers: Any) -> None:
    a = np.arange(12.0).reshape(2, 3, 2) / 7
    b = np.cos(np.arange(30.0)).reshape(2, 3, 5)
    f = partial(weighed, partial(lax.dot_general, dimension_numbers=dimension_numbers))
    assert_close(jax.jit(reverse_gradient(f))((a, b)), jax.jit(jax.grad(f))((a, b)))


@pytest.mark.notes("(2.10)")
@pytest.mark.parametrize(
    ("f", "slope_at_0"),
    [
        (relu, 1.0),
        (jax.nn.relu, 0.0),
        (lambda z: jnp.maximum(z, 0), 0.5),
        (lambda z: -jnp.minimum(-z, 0), 0.5),
        (jnp.abs, 1.0),
    ],
)
def test_slopes_at_the_kink(f: Callable[[Any], Array], slope_at_0: float) -> None:
    z = jnp.array([-1.0, -0.0, 0.0, 2.0])
    gradient = reverse_gradient(lambda z: f(z).sum())(z)
    assert gradient.tolist() == jax.grad(lambda z: f(z).sum())(z).tolist()
    assert gradient[1:3].tolist() == [slope_at_0] * 2


@pytest.mark.parametrize("f", [jnp.max, jnp.min, lambda x: jnp.maximum(x, x).sum()])
def test_ties_share_alike(f: Callable[[Any], Array]) -> None:
    tied = np.ones(4)
    assert reverse_gradient(f)(tied).tolist() == jax.grad(f)(tied).tolist()
