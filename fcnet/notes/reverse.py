"""An explicit reverse pass over any circuit: the proof of Theorem 3.1 as a program.

The forward pass writes every operation that depends on the inputs on a tape. The reverse pass
reads the tape backwards and keeps the adjoint dJ/dv of each value v in a dictionary; an operation
v = v(a, b) adds dJ/dv dv/da to the adjoint of a and dJ/dv dv/db to that of b, by the chain rule
(3.3). A value not in the dictionary has the adjoint zero, and costs nothing (Footnote 4).

No `jax.grad` or `jax.vjp` here: autodiff is the judge, and sits elsewhere.
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
    `circuit_size(f, *args)` for circuits of + - * / ReLU exp log sin cos, and at most 3 times for
    the loss of a network as it grows. (Adjoints of arrays are whole arrays, so what f repeats and
    then leaves unused is not free, as it would be number by number.) The twin `jax.grad(f)` returns
    the same up to rounding. The gradient is a JAX function like any other, to be jitted, mapped,
    counted or differentiated.

    It holds where f is differentiable: no division by 0, logarithms and roots of positive numbers
    only, powers a^b of positive a where b is a variable (a whole number b may have any a). At a
    kink the value is JAX's: max and min share alike where they tie, and the slope of abs at 0 is 1.
    A `jax.custom_jvp` function has the rule it declares: ReLU'(0) is 1 for `fcnet`'s ReLU, as in
    the notes, and 0 for `jax.nn.relu`.

    Args:
        f: a function whose first argument is a pytree of floating arrays, with a scalar result.
            Loops, branches on data, gather by an array of indices and `jax.custom_vjp` have no
            rule.

    Returns:
        A function of the same arguments; its result has the structure, shapes and dtypes of the
        first. Coordinates that f does not use have the gradient zero, and no operation is spent
        on them (Footnote 4), though an array of zeros is still written.

    Raises:
        TypeError: for an f that cannot be called; by the gradient, for a first argument that is
            not floating, or a result that is not one real number.
        ValueError: by the gradient, for an operation without a rule on the way to the result.

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
    """The forward pass: run the circuit, and write its live operations on the tape."""
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
"""The calls whose operations go on the tape one by one."""


def _apply(equation: JaxprEqn, operands: Sequence[Array]) -> list[Array]:
    primitive: Any = equation.primitive
    results = primitive.bind(*operands, **primitive.get_bind_params(equation.params))
    return results if primitive.multiple_results else [results]


def _contributions(gate: Gate, adjoints: dict[Wire, Array]) -> Iterable[Contribution]:
    """What the operation adds to the adjoint of each operand; nothing if it has none itself."""
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

    The rule maps tangents to tangents linearly, so the adjoints of the tangents are those of the
    operands, whatever the tangents are.
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
    """Add each contribution to the adjoint of its wire: all that the chain rule (3.3) sums."""
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
    """Sum over the axes along which an operation silently repeated the operand."""
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
