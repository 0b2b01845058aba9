"""The size of a circuit, counted against closed forms, against numbers that count, against XLA."""

import operator
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.circuits import network

import fcnet
from fcnet.notes import circuit
from fcnet.notes.circuit import circuit_size
from fcnet.notes.costs import delta_entry, gradient_costs
from fcnet.notes.rules import RULES

SIZES = st.lists(st.integers(1, 7), min_size=2, max_size=5).map(tuple)


def closed_form(sizes: tuple[int, ...]) -> int:
    products = sum(m_below * m for m_below, m in pairwise(sizes))
    return 2 * products + sum(sizes[1:-1]) + 3 * sizes[-1]


@pytest.mark.notes("Theorem 3.1")
@pytest.mark.parametrize(
    ("sizes", "N"), [((4, 3, 1), 36), ((10, 20, 1), 463), ((32, 64, 64, 1), 12547)]
)
def test_size_of_a_network_by_hand(sizes: tuple[int, ...], N: int) -> None:
    assert circuit_size(fcnet.example_loss, *network(*sizes)) == N == closed_form(sizes)


class Counting:
    """A number that counts the operations done with numbers of its kind."""

    operations = 0

    def operate(self, *others: object) -> "Counting":
        Counting.operations += 1
        return Counting()

    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = relu = operate


@given(SIZES)
@pytest.mark.notes("Theorem 3.1")
def test_size_of_a_network_is_the_closed_form_and_what_a_scalar_program_does(
    sizes: tuple[int, ...],
) -> None:
    """The scalar program knows no JAX: Python's loops over numbers that count."""
    Counting.operations = 0
    a = [Counting() for _ in range(sizes[0])]
    for k, (m_below, m) in enumerate(pairwise(sizes), start=1):
        W = [[Counting() for _ in range(m_below)] for _ in range(m)]
        z = [reduce(operator.add, map(operator.mul, row, a)) + Counting() for row in W]
        a = z if k == len(sizes) - 1 else [entry.relu() for entry in z]
    reduce(operator.add, [(o - Counting()) ** 2 for o in a]) / 2
    assert closed_form(sizes) == Counting.operations
    assert circuit_size(fcnet.example_loss, *network(*sizes)) == Counting.operations


@pytest.mark.parametrize("sizes", [(64, 64, 1), (32, 64, 64, 1)])
def test_size_of_a_network_is_what_xla_counts(sizes: tuple[int, ...]) -> None:
    args = network(*sizes)
    with jax.default_device(jax.devices("cpu")[0]):  # a GPU's program has other operations
        compiled = jax.jit(fcnet.example_loss).lower(*args).compile()
    assert circuit_size(fcnet.example_loss, *args) == pytest.approx(
        compiled.cost_analysis()["flops"], rel=0.02
    )


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dot_general", lambda eqn: 2 * circuit._product(eqn)),
        ("dot_general", lambda eqn: circuit._product(eqn) + circuit.aval(eqn.outvars[0]).size),
        ("max", circuit._wiring),
        ("reduce_sum", lambda eqn: circuit.aval(eqn.invars[0]).size),
        ("add", lambda eqn: 1),
        ("integer_pow", lambda eqn: 3),
    ],
)
def test_a_wrong_count_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., int]
) -> None:
    monkeypatch.setattr(circuit, "SIZES", {**circuit.SIZES, name: wrong})
    assert circuit_size(fcnet.example_loss, *network(4, 3, 2)) != closed_form((4, 3, 2))


x = np.arange(1, 4, dtype=np.float32)


@pytest.mark.parametrize(
    ("f", "args", "size"),
    [
        (lambda x: x, (x,), 0),
        (lambda x: jnp.zeros(3), (x,), 0),
        (lambda x: 2.0 * x, (x,), 3),  # a number repeated along an array, without a broadcast
        (lambda x, c: c * x, (x, 2.0), 3),
        (lambda x: x / jnp.ones(1), (x,), 3),
        (lambda x: jnp.sum(x), (x,), 2),
        (lambda x: x * x, (x,), 3),
        (lambda x: (x * x, x + 1)[1], (x,), 3),  # an operation nothing depends on
        (jax.jit(lambda x: jax.jit(jnp.sin)(x) + 1), (x,), 6),
        (jax.jit(lambda x: (jnp.sin(x), jnp.cos(x) * 2)), (x,), 9),
        (lambda x: jax.jit(lambda x: (jnp.sin(x), jnp.cos(x) * 2))(x)[0], (x,), 3),
        (jax.checkpoint(jnp.sin), (x,), 3),
        (fcnet.ACTIVATIONS["relu"].function, (x,), 3),
        (jax.nn.relu, (x,), 3),
        (lambda x: jnp.where(x >= 0, x, 0.0), (x,), 6),
        (lambda x: x[::-1].reshape(3, 1).T, (x,), 0),
        (lambda x, i: x[i + 1], (x, 0), 0),  # whole numbers are addresses
        (lambda x: x.at[1].add(5.0), (x,), 1),
        (lambda x: jnp.outer(x, x), (x,), 9),
        (lambda x: jnp.outer(x, x) @ jnp.outer(x, x), (x,), 9 + 9 + 9 * 5),
        (jax.vmap(jnp.dot), (jnp.ones((4, 3)), jnp.ones((4, 3))), 4 * 5),
        (lambda x: jax.lax.scan(lambda c, t: (c * t + 1, None), 1.0, x)[0], (x,), 6),
        (jnp.exp, (2.0,), 1),
        (jnp.exp, (jax.ShapeDtypeStruct((2, 3), np.float32),), 6),
    ],
)
def test_rules_of_counting(f: Callable[..., Any], args: tuple[Any, ...], size: int) -> None:
    assert circuit_size(f, *args) == size


def test_every_counted_primitive_exists() -> None:
    primitives = vars(jax.extend.core.primitives).values()
    known = {p.name for p in primitives if isinstance(p, jax.extend.core.Primitive)}
    assert set(circuit.SIZES) - known <= {"split", "stack", "unstack"}


def test_the_reverse_pass_can_be_counted() -> None:
    assert set(RULES) <= set(circuit.SIZES)


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (jnp.sort, "sort"),
        (lambda x: jax.lax.while_loop(lambda x: x[0] < 9, lambda x: 2 * x, x), "while"),
        (lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), "cond"),
    ],
)
def test_what_has_no_known_size_is_named(f: Callable[..., Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"size of the primitive '{name}' is not known; known are"):
        circuit_size(f, x)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((3, x), "f must be a function, got int"),
        ((jnp.sin, "x"), r"args\[0\] must be an array or a number, got str"),
        ((jnp.add, x, [x, object()]), r"args\[1\]\[1\] must be an array or a number, got object"),
    ],
)
def test_bad_input(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        circuit_size(*args)


def exponents(layers: int) -> dict[str, float]:
    """Slopes of the logarithms of the costs over that of p, for the widths (m, ..., m, 1)."""
    rows = [gradient_costs((m,) * layers + (1,)) for m in (16, 32, 64, 128)]
    logs = {name: np.log([getattr(row, name) for row in rows]) for name in rows[0]._fields}
    return {name: np.polyfit(logs["params"], values, 1)[0] for name, values in logs.items()}


@pytest.mark.notes("Theorem 3.1")
@pytest.mark.parametrize(("r", "forward_shared"), [(2, 1.0), (3, 1.5), (4, 2.0)])
def test_cost_of_the_gradient_grows_as_p_or_as_its_square(r: int, forward_shared: float) -> None:
    slope = exponents(r)
    assert slope["loss"] == pytest.approx(1, abs=0.02)
    assert slope["deltas_shared"] == pytest.approx(1, abs=0.02)
    assert slope["nothing_shared"] == pytest.approx(2, abs=0.02)
    assert slope["forward_shared"] == pytest.approx(forward_shared, abs=0.06)


@pytest.mark.parametrize("sizes", [(64, 64, 1), (32, 64, 64, 1), (500, 1)])
def test_costs_in_units_of_the_loss(sizes: tuple[int, ...]) -> None:
    costs = gradient_costs(sizes)
    assert costs.params == fcnet.count_params(sizes)
    assert costs.loss == closed_form(sizes)
    assert 0.9 < costs.nothing_shared / (costs.params * costs.loss) < 1.1
    assert costs.loss < costs.deltas_shared < 3 * costs.loss


def test_one_partial_at_a_time_is_the_gradient(x64: None) -> None:
    """The programs that `gradient_costs` counts do compute what they claim to."""
    keys = jax.random.split(jax.random.key(5), 3)
    params = fcnet.init(keys[0], (5, 4, 3, 2), dtype=float)
    x, y = jax.random.normal(keys[1], (5,)), jax.random.normal(keys[2], (2,))
    rtol = {"cpu": 1e-13}.get(jax.default_backend(), 1e-10)  # a GPU sums in another order
    trace = fcnet.forward_trace(params, x)
    expected = fcnet.backprop(params, x, y)
    for k, layer in enumerate(expected, start=1):
        b = jnp.array([delta_entry(params, trace, y, k=k, j=j) for j in range(layer.b.size)])
        assert jnp.linalg.norm(layer.b) > 1e-3
        np.testing.assert_allclose(b, layer.b, rtol)
        np.testing.assert_allclose(jnp.outer(b, trace.a[k - 1]), layer.W, rtol)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gradient_costs((3,)), ValueError, "sizes"),
        (lambda: gradient_costs((3, 0)), ValueError, "sizes"),
        (lambda: gradient_costs(5), TypeError, "sizes"),
        (lambda: entry(k=0, j=0), ValueError, "k must be between 1 and 2, got 0"),
        (lambda: entry(k=1, j=3), ValueError, "j must be between 0 and 2, got 3"),
        (lambda: entry(k=1.0, j=0), TypeError, "k must be an integer"),
    ],
)
def test_bad_sizes_and_indices(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def entry(**indices: Any) -> jax.Array:
    params = fcnet.init(jax.random.key(0), (2, 3, 1))
    return delta_entry(params, fcnet.forward_trace(params, jnp.ones(2)), jnp.ones(1), **indices)
