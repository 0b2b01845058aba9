"""The explicit reverse pass: random circuits and networks against autodiff, and what it costs."""

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings, target
from hypothesis import strategies as st
from support.circuits import network
from support.problems import Case, assert_close, compiled, problem

import fcnet
from fcnet.activations import relu
from fcnet.notes import reverse
from fcnet.notes.circuit import circuit_size
from fcnet.notes.reverse import reverse_gradient
from fcnet.notes.rules import RULES

Operation = Callable[[ModuleType, Any, Any], Any]

OPERATIONS: dict[str, tuple[Operation, Operation]] = {
    # those the notes name, each beside a form that keeps to where it is differentiable
    "+": (lambda ns, a, b: a + b,) * 2,
    "-": (lambda ns, a, b: a - b,) * 2,
    "*": (lambda ns, a, b: a * b,) * 2,
    "/": (lambda ns, a, b: a / b, lambda ns, a, b: a / (3 + ns.sin(b))),
    "relu": (lambda ns, a, b: relu(a),) * 2,
    "exp": (lambda ns, a, b: ns.exp(a), lambda ns, a, b: ns.exp(ns.sin(a))),
    "log": (lambda ns, a, b: ns.log(a), lambda ns, a, b: ns.log(3 + ns.cos(a))),
    "sin": (lambda ns, a, b: ns.sin(a),) * 2,
    "cos": (lambda ns, a, b: ns.cos(a),) * 2,
    # and on arrays
    "sum": (lambda ns, a, b: ns.sum(a),) * 2,
    "entry": (lambda ns, a, b: a[1] if a.ndim else a,) * 2,
    "dot": (lambda ns, a, b: ns.dot(ns.broadcast_to(a, (3,)), ns.broadcast_to(b, (3,))),) * 2,
}
ANALYTIC = sorted(set(OPERATIONS) - {"relu"})
RAW, SAFE = 0, 1

Circuit = list[tuple[str, int, int]]


def circuits(names: Sequence[str] = tuple(OPERATIONS)) -> st.SearchStrategy[Circuit]:
    """Random directed acyclic graphs: each step applies an operation to two earlier values."""
    step = st.tuples(st.sampled_from(names), st.integers(0, 30), st.integers(0, 30))
    return st.lists(step, min_size=1, max_size=10)


def evaluate(circuit: Circuit, form: int, inputs: Any, ns: ModuleType = jnp) -> Any:
    """What a circuit makes of two numbers and an array: the sum of its last two values."""
    values = [inputs["s"], inputs["t"], inputs["v"]]
    for name, i, j in circuit:
        recent = values[::-1]
        a, b = recent[i % len(values)], recent[j % len(values)]
        values.append(OPERATIONS[name][form](ns, a, b))
    return ns.sum(values[-1]) + ns.sum(values[-2])


HALVES = st.integers(-3, 3).map(lambda n: n / 2)  # differences are often 0, ReLU's kink
INPUTS = st.builds(
    lambda s, t, v: {"s": np.float64(s), "t": np.float64(t), "v": np.array(v)},
    *(HALVES,) * 2,
    st.lists(HALVES, min_size=3, max_size=3),
)


def agree(actual: Any, expected: Any) -> None:
    """Equal up to rounding, relative to the whole gradient; circuits that magnify it are left."""
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(expected)])
    assume(bool(np.isfinite(flat).all()))
    scale = np.linalg.norm(flat)
    assume(1e-3 < scale < 1e3)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        assert np.linalg.norm(np.asarray(a) - np.asarray(e)) <= 1e-12 * scale


def check_random_circuit(circuit: Circuit, inputs: Any) -> None:
    with jax.enable_x64(True):
        f, inputs = partial(evaluate, circuit, SAFE), jax.tree.map(jnp.asarray, inputs)
        agree(reverse_gradient(f)(inputs), jax.grad(f)(inputs))


@given(circuits(), INPUTS)
@pytest.mark.notes("Theorem 3.1", "(3.3)")
def test_equal_to_autodiff_on_random_circuits(circuit: Circuit, inputs: Any) -> None:
    check_random_circuit(circuit, inputs)


@given(circuits(ANALYTIC), INPUTS)
@pytest.mark.notes("Theorem 3.1")
def test_equal_to_complex_steps_on_random_analytic_circuits(circuit: Circuit, inputs: Any) -> None:
    """f(x + ih) = f(x) + ih f'(x) + O(h^2), by NumPy: no autodiff, nothing cancels."""
    f = partial(evaluate, circuit, SAFE)
    with jax.enable_x64(True):
        agree(reverse_gradient(f)(inputs), complex_steps(partial(f, ns=np), inputs))


def complex_steps(f: Callable[[Any], Any], inputs: Any, h: float = 1e-30) -> Any:
    """The partials of a real analytic f, Im f(x + i h e) / h, in NumPy's arithmetic."""

    def along(name: str, index: tuple[int, ...]) -> float:
        moved = {key: np.array(value, dtype=complex) for key, value in inputs.items()}
        moved[name][index] += 1j * h
        return f(moved).imag / h

    return {
        name: np.array([along(name, i) for i in np.ndindex(value.shape)]).reshape(value.shape)
        for name, value in inputs.items()
    }


def overwrite(adjoints: Any, wires: Any, contributions: Any) -> None:
    """The classical mistake: = where the chain rule has +=."""
    for wire, contribution in zip(wires, contributions, strict=True):
        alone: Any = {}
        accumulate(alone, [wire], [contribution])
        adjoints |= alone


accumulate = reverse._accumulate


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("_accumulate", overwrite),
        ("_unbroadcast", lambda contribution, operand: contribution),
        (
            "_unbroadcast",
            lambda contribution, operand: contribution.ravel()[0] + jnp.zeros_like(operand),
        ),
        ("INLINED", (*reverse.INLINED, "custom_jvp_call")),  # ReLU'(0) becomes max's 1/2
        ("RULES", {**RULES, "sub": RULES["add"]}),
        ("RULES", {**RULES, "mul": lambda g, v, a, b, **_: (g * a, g * b)}),
        ("RULES", {**RULES, "div": lambda g, v, a, b, **_: (g / b, g / b * v)}),
        ("RULES", {**RULES, "cos": RULES["sin"]}),
        ("RULES", {**RULES, "exp": lambda g, v, a, **_: (g * a,)}),
        ("RULES", {**RULES, "select_n": lambda g, v, which, *cases: (None, *[g] * len(cases))}),
        ("RULES", {**RULES, "dot_general": lambda g, v, a, b, **_: (g * a, g * b)}),
        ("RULES", {**RULES, "slice": lambda g, v, a, **_: (jnp.resize(g, a.shape),)}),
    ],
)
def test_a_planted_fault_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: object
) -> None:
    monkeypatch.setattr(reverse, name, fault)
    search = settings(phases=[Phase.generate], max_examples=500, database=None)(
        given(circuits(), INPUTS)(check_random_circuit)
    )
    with pytest.raises(AssertionError):
        search()


@given(circuits())
@pytest.mark.notes("Theorem 3.1")
def test_at_most_five_times_the_operations_on_random_circuits(circuit: Circuit) -> None:
    f = partial(evaluate, circuit, RAW)
    inputs = {"s": 1.0, "t": 1.0, "v": np.ones(3)}
    N, N_gradient = circuit_size(f, inputs), circuit_size(reverse_gradient(f), inputs)
    target(N_gradient / max(N, 1))
    assert N_gradient <= 5 * N


@pytest.mark.notes("Theorem 3.1")
@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        pytest.param(
            activation,
            loss,
            marks=[pytest.mark.slow] * (activation != "relu" and loss != "squared_error"),
        )
        for activation in fcnet.ACTIVATIONS
        for loss in fcnet.LOSSES
    ],
)
def test_equal_to_autodiff_and_algorithm_5_on_networks(
    x64: None, activation: str, loss: str
) -> None:
    params, (x, *_), (y, *_) = problem(Case((4, 3, 2)))

    def f(params: fcnet.Params) -> jax.Array:
        return fcnet.example_loss(params, x, y, activation=activation, loss=loss)

    gradient = compiled(reverse_gradient(f), params)
    assert_close(gradient, compiled(jax.grad(f), params))
    by_hand = compiled(fcnet.backprop, params, x, y, activation=activation, loss=loss)
    assert_close(gradient, by_hand)


def ratio(f: Callable[..., Any], *args: Any) -> float:
    return circuit_size(reverse_gradient(f), *args) / circuit_size(f, *args)


@pytest.mark.notes("Theorem 3.1")
@pytest.mark.parametrize(
    ("sizes", "limit"),
    [((512, 1024, 1), 3 / 2), ((500, 1), 3 / 2), ((256, 256, 256, 256, 256, 256, 1), 5 / 2)],
)
def test_three_halves_to_five_halves_of_the_operations_of_a_network(
    sizes: tuple[int, ...], limit: float
) -> None:
    """One example: W a costs 2 operations an entry of W, delta a^T one more, W^T delta two."""
    assert ratio(fcnet.example_loss, *network(*sizes)) == pytest.approx(limit, rel=0.1)


@pytest.mark.notes("Theorem 3.1")
@pytest.mark.parametrize("activation", fcnet.ACTIVATIONS)
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_at_most_three_times_the_operations_of_a_growing_network(
    activation: str, depth: int
) -> None:
    def cost(params: Any, X: Any, Y: Any) -> jax.Array:
        return fcnet.mean_loss(params, X, Y, activation=activation)

    for m in (16, 64, 256):
        params, x, y = network(*[m] * depth, 1)
        X, Y = (jax.ShapeDtypeStruct((128, *v.shape), v.dtype) for v in (x, y))
        assert ratio(cost, params, X, Y) <= 3
