"""An explicit reverse pass over a circuit: the proof of Theorem 3.1 as a program.

The forward pass records every operation that depends on the inputs on a tape. The reverse pass
reads the tape backwards and keeps the adjoint dJ/dv of each value v in a dictionary. An operation
v = v(a, b) adds dJ/dv dv/da to the adjoint of a and dJ/dv dv/db to that of b, by the chain rule
(3.3). A value that is not in the dictionary has the adjoint zero, and costs nothing (Footnote 4).

Neither `jax.grad` nor `jax.vjp` is used here; the tests compare with them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from fcnet.notes.circuit import aval, called, check_traceable
from fcnet.notes.rules import RULES, Block, Contribution


def reverse_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of f with respect to its first argument, by an explicit reverse pass.

    Theorem 3.1 as a program: `circuit_size(reverse_gradient(f), *args)` is at most 5 times
    `circuit_size(f, *args)` for circuits of + - * / ReLU exp log sin cos. For the loss of a large
    network it is at most 3 times that. (Adjoints are whole arrays, so entries that f repeats and
    does not use are not free, as they would be number by number.) The twin `jax.grad(f)` returns
    the same up to rounding. The gradient is a JAX function: it can be jitted, mapped, counted and
    differentiated.

    It holds where f is differentiable: no division by 0, logarithms and roots of positive numbers
    only, powers a^b of positive a if b is a variable (for a whole number b, any a). At a kink the
    value is JAX's: max and min give each tied operand half, and the slope of abs at 0 is 1. A
    `jax.custom_jvp` function has its own rule: ReLU'(0) is 1 for `fcnet`'s ReLU, as in the notes,
    and 0 for `jax.nn.relu`.

    Args:
        f: a function whose first argument is a pytree of floating arrays, with a scalar result.
            There is no rule for loops, branches on data, gather by an array of indices, and
            `jax.custom_vjp`.

    Returns:
        A function of the same arguments; its result has the structure, shapes and dtypes of the
        first argument. Coordinates that f does not use have the gradient zero and take no operation
        (Footnote 4), though an array of zeros is written.

    Raises:
        TypeError: for an f that cannot be called. The gradient raises it for a first argument that
            is not floating, or a result that is not one real number.
        ValueError: raised by the gradient for an operation without a rule on the way to the result.

    >>> gradient = reverse_gradient(lambda x: x[0] * x[0] + x[0] / x[1])
    >>> gradient(jnp.array([3.0, 2.0, 7.0])).tolist()
    [6.5, -0.75, 0.0]
    """
    check_traceable(f, ())

    def gradient(x: Any, *rest: Any) -> Any:
        check_traceable(f, (x, *rest))
        leaves, structure = jax.tree.flatten(x)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        for leaf in leaves:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(
                    f"the first argument must hold floating arrays, got {leaf.dtype}; "
                    "cast with .astype(float)"
                )

        def of_leaves(*leaves: Array) -> Any:
            return f(jax.tree.unflatten(structure, leaves), *rest)

        circuit, result = jax.make_jaxpr(of_leaves, return_shape=True)(*leaves)
        kind = getattr(result, "dtype", None)
        if kind is None or result.shape or not jnp.issubdtype(kind, jnp.floating):
            raise TypeError(f"f must return one real number, a floating scalar, got {result}")
        return jax.tree.unflatten(structure, _pull_back(circuit, leaves, [jnp.ones((), kind)]))

    return gradient


@dataclass(frozen=True, eq=False)
class Wire:
    """A value in the circuit, and whether it depends on the inputs; two wires are never equal."""

    value: Array
    live: bool


class Gate(NamedTuple):
    """An operation on the tape."""

    equation: JaxprEqn
    operands: list[Wire]
    results: list[Wire]


def _pull_back(
    circuit: ClosedJaxpr, inputs: Sequence[Array], seeds: Sequence[Array]
) -> list[Array]:
    """The adjoints of the inputs of a circuit, from those of its results."""
    wires = [Wire(value, True) for value in inputs]
    tape: list[Gate] = []
    results = _record(circuit.jaxpr, circuit.consts, wires, tape)
    adjoints: dict[Wire, Array] = {}
    _accumulate(adjoints, results, seeds)
    for gate in reversed(tape):
        _accumulate(adjoints, gate.operands, _contributions(gate, adjoints))
    return [_adjoint(adjoints, wire) for wire in wires]


def _record(
    circuit: Jaxpr, consts: Sequence[Any], inputs: Sequence[Wire], tape: list[Gate]
) -> list[Wire]:
    """The forward pass: run the circuit, and record its live operations on the tape."""
    wires = dict(zip(circuit.invars, inputs, strict=True))
    for v, value in zip(circuit.constvars, consts, strict=True):
        wires[v] = Wire(jnp.asarray(value), False)

    def read(atom: Any) -> Wire:
        if isinstance(atom, Literal):
            return Wire(jnp.asarray(atom.val, aval(atom).dtype), False)
        return wires[atom]

    for equation in circuit.eqns:
        operands = [read(atom) for atom in equation.invars]
        if equation.primitive.name in INLINED:
            results = _record(*called(equation), operands, tape)
        else:
            live = any(operand.live for operand in operands)
            results = [
                Wire(value, live and jnp.issubdtype(value.dtype, jnp.floating))
                for value in _apply(equation, [operand.value for operand in operands])
            ]
            if any(result.live for result in results):
                tape.append(Gate(equation, operands, results))
        wires |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in circuit.outvars]


INLINED = ("jit", "remat2")
"""The calls whose operations are recorded on the tape one by one."""


def _apply(equation: JaxprEqn, operands: Sequence[Array]) -> list[Array]:
    primitive: Any = equation.primitive
    results = primitive.bind(*operands, **primitive.get_bind_params(equation.params))
    return results if primitive.multiple_results else [results]


def _contributions(gate: Gate, adjoints: dict[Wire, Array]) -> Iterable[Contribution]:
    """What the operation adds to the adjoint of each operand; nothing if its results have none."""
    if not any(result in adjoints for result in gate.results):
        return [None] * len(gate.operands)
    name = gate.equation.primitive.name
    g = [_adjoint(adjoints, result) for result in gate.results]
    if name == "custom_jvp_call":
        return _declared(gate, g)
    if name not in RULES:
        raise ValueError(
            f"no rule for the primitive {name!r} in the reverse pass; there is one for "
            f"{', '.join(sorted(RULES))}, and for jax.custom_jvp; wrap the function that needs "
            f"{name!r} in jax.custom_jvp, or in jax.lax.stop_gradient if it is a constant"
        )
    v = [result.value for result in gate.results]
    operands = [operand.value for operand in gate.operands]
    one = not gate.equation.primitive.multiple_results
    return RULES[name](*(g + v if one else (g, v)), *operands, **gate.equation.params)


def _declared(gate: Gate, g: Sequence[Array]) -> Iterable[Contribution]:
    """The contributions of a `jax.custom_jvp` function: the reverse pass over its own rule.

    The rule is linear in the tangents, so the adjoints of the tangents are those of the operands,
    for any tangents.
    """
    live = [operand for operand in gate.operands if operand.live]

    def function(*values: Array) -> list[Array]:
        given = iter(values)
        operands = [next(given) if wire.live else wire.value for wire in gate.operands]
        results = _apply(gate.equation, operands)
        return [value for value, wire in zip(results, gate.results, strict=True) if wire.live]

    def tangent(*tangents: Array) -> list[Array]:
        return jax.jvp(function, tuple(wire.value for wire in live), tangents)[1]

    zeros = [jnp.zeros_like(wire.value) for wire in live]
    seeds = [adjoint for adjoint, wire in zip(g, gate.results, strict=True) if wire.live]
    adjoints = iter(_pull_back(jax.make_jaxpr(tangent)(*zeros), zeros, seeds))
    return [next(adjoints) if wire.live else None for wire in gate.operands]


def _adjoint(adjoints: dict[Wire, Array], wire: Wire) -> Array:
    return adjoints[wire] if wire in adjoints else jnp.zeros_like(wire.value)


def _accumulate(
    adjoints: dict[Wire, Array], wires: Iterable[Wire], contributions: Iterable[Contribution]
) -> None:
    """Add each contribution to the adjoint of its wire: the sum in the chain rule (3.3)."""
    for wire, contribution in zip(wires, contributions, strict=True):
        if not wire.live or contribution is None:
            continue
        if isinstance(contribution, Block):
            entries, starts = contribution
            if wire in adjoints:
                entries = entries + lax.dynamic_slice(adjoints[wire], starts, entries.shape)
            adjoints[wire] = lax.dynamic_update_slice(_adjoint(adjoints, wire), entries, starts)
        else:
            share = _unbroadcast(contribution, wire.value)
            adjoints[wire] = adjoints[wire] + share if wire in adjoints else share


def _unbroadcast(contribution: Array, operand: Array) -> Array:
    """Sum over the axes along which an operation broadcast the operand."""
    new = contribution.ndim - operand.ndim
    shape = (1,) * new + operand.shape
    repeated = [
        axis
        for axis, (n, m) in enumerate(zip(contribution.shape, shape, strict=True))
        if axis < new or n != m
    ]
    if repeated:
        contribution = contribution.sum(repeated).reshape(operand.shape)
    return contribution.astype(operand.dtype)
