"""Monte-Carlo arithmetic: a jaxpr evaluated with the result of every primitive moved a little.

Each value is carried twice, exact and moved. Decisions (comparisons, signs, integers) can then be
those of the exact computation, and a ReLU at its kink does not switch.
"""

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend import core

NESTED = {
    "jit": "jaxpr",
    "remat2": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
"""Primitives that only wrap a jaxpr, and the parameter that holds it."""

FLOAT_DECISIONS = frozenset({"sign", "floor", "ceil", "round"})
"""Primitives whose result is a decision, though its dtype is floating."""

EXACT = frozenset(
    {"abs", "broadcast_in_dim", "clamp", "concatenate", "convert_element_type", "copy", "copy_p"}
    | {"cummax", "cummin", "dynamic_slice", "dynamic_update_slice", "gather", "imag", "max", "min"}
    | {"neg", "optimization_barrier", "pad", "real", "reduce_max", "reduce_min", "reshape", "rev"}
    | {"scatter", "select_n", "slice", "sort", "split", "squeeze", "top_k", "transpose"}
)
"""Primitives that move, choose or negate numbers, and never round."""

SUMS = frozenset(
    {"conv_general_dilated", "cumsum", "dot_general", "reduce_sum", "reduce_window_sum"}
    | {"scatter-add"}
)
"""Sums of products with a factor of each operand; the squares of the terms add up alike."""

WHOLE = frozenset(
    {"cholesky", "custom_linear_solve", "eig", "eigh", "fft", "householder_product", "lu", "qr"}
    | {"schur", "svd", "triangular_solve", "tridiagonal_solve"}
)
"""Whole algorithms, all backward stable: moves of operands and results stand for their rounding."""


class Pair(NamedTuple):
    """A value of the computation, exact and moved."""

    exact: Array
    moved: Array


@dataclass(frozen=True)
class MonteCarlo:
    """One sample of a computation whose roundings are random.

    Attributes:
        step: the relative size of a move.
        floor: an absolute size added to each move, in units of the step: what underflow loses.
        stream: seeds the random signs; another uint32 gives another sample.
        frozen: whether decisions are those of the exact computation.
        nudge: the size of the move of a result that is 0; by default such a result is exact.
        direction: 1 or -1 to move all results up or down, 0 for random directions.
    """

    step: float | Array
    floor: float | Array
    stream: Array
    frozen: bool = True
    nudge: float = 0.0
    direction: int | Array = 0
    _turns: Any = field(default_factory=itertools.count, compare=False, repr=False)

    def run(self, jaxpr: core.Jaxpr, consts: Any, inputs: list[Pair]) -> list[Pair]:
        """The results of a jaxpr; `consts` are the values of its constant variables."""
        values = dict(zip(jaxpr.constvars, (Pair(c, c) for c in consts), strict=True))
        values |= zip(jaxpr.invars, inputs, strict=True)

        def read(atom: Any) -> Pair:
            return Pair(atom.val, atom.val) if isinstance(atom, core.Literal) else values[atom]

        for eqn in jaxpr.eqns:
            results = self._apply(eqn, [read(atom) for atom in eqn.invars])
            values |= zip(eqn.outvars, results, strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def start(self, value: Array) -> Pair:
        """An input, moved like the result of an operation."""
        return Pair(value, self._move(value, self._size(value)))

    def _move(self, value: Array, size: Array) -> Array:
        return _moved(value, size, self.step, self.direction, self._next())

    def _apply(self, eqn: core.JaxprEqn, operands: list[Pair]) -> list[Pair]:
        name = eqn.primitive.name
        if name in NESTED:
            return self.run(*_opened(eqn.params[NESTED[name]]), operands)
        if name == "scan":
            return self._scan(eqn, operands)
        if name == "cond":
            return self._cond(eqn, operands)
        moved = [
            self._move(p.moved, self._size_of_whole(p.exact))
            if name in WHOLE and _real(p.exact)
            else p.moved
            for p in operands
        ]
        unmoved = [p.exact for p in operands]
        pairs = map(Pair, _bind(eqn, unmoved), _bind(eqn, moved))
        return [self._rounded(eqn, unmoved, pair) for pair in pairs]

    def _rounded(self, eqn: core.JaxprEqn, operands: list[Any], pair: Pair) -> Pair:
        """What a primitive returned, moved as much as the primitive rounds."""
        name = eqn.primitive.name
        if name in FLOAT_DECISIONS or not _real(pair.exact):
            return Pair(pair.exact, pair.exact) if self.frozen else pair
        if name in EXACT:
            return pair
        if name in SUMS:
            size = self._size_of_sum(eqn, operands, pair.exact)
        else:
            size = self._size(pair.exact)
        return pair._replace(moved=self._move(pair.moved, size))

    def _size(self, value: Array) -> Array:
        return _size(value, self.nudge, self.floor)

    def _size_of_whole(self, value: Array) -> Array:
        """Alike for all entries: such an algorithm is backward stable in the norm only."""
        rows = math.prod(value.shape[-2:-1])
        norm = jnp.sqrt(rows * jnp.mean(abs(value) ** 2))
        return jnp.where(value == 0, self.nudge, norm + self.floor)

    def _size_of_sum(self, eqn: core.JaxprEqn, operands: list[Any], total: Array) -> Array:
        """The root mean square of the partial sums, times that of their number.

        Recursive summation rounds every partial sum. If K terms with the sum D and the sum of
        squares Q come in random order, the squares of the partial sums add up to K Q / 6 +
        K D^2 / 3 on average; K Q / 2 here leaves room for other orders.
        """
        (squares,) = _bind(eqn, [x * x if _real(x) else x for x in operands])
        return _size_of_sum(squares, total, _terms(eqn, operands), self.nudge, self.floor)

    def _scan(self, eqn: core.JaxprEqn, operands: list[Pair]) -> list[Pair]:
        jaxpr, consts = _opened(eqn.params["jaxpr"])
        # What the scan takes apart, and stacks, has one more axis outside than inside.
        taken = sum(map(_deeper, eqn.invars, jaxpr.invars))
        stacked = sum(map(_deeper, eqn.outvars, jaxpr.outvars))
        carried = len(jaxpr.outvars) - stacked
        first = len(operands) - taken
        fixed, carry, xs = (
            operands[: first - carried],
            operands[first - carried : first],
            operands[first:],
        )
        stream = self._next()

        def turn(state: Any, x: list[Pair]) -> Any:
            i, carry = state
            inner = replace(self, stream=scramble(stream + i), _turns=itertools.count())
            results = inner.run(jaxpr, consts, [*fixed, *carry, *x])
            return (i + 1, results[:carried]), results[carried:]

        (_, carry), ys = lax.scan(
            turn,
            (jnp.uint32(0), jax.tree.map(jnp.asarray, carry)),
            xs,
            length=eqn.params["length"],
            reverse=eqn.params["reverse"],
        )
        return [*carry, *ys]

    def _cond(self, eqn: core.JaxprEqn, operands: list[Pair]) -> list[Pair]:
        index, *rest = operands
        inner = replace(self, stream=self._next(), _turns=itertools.count())
        branches = [
            lambda pairs, branch=branch: inner.run(*_opened(branch), pairs)
            for branch in eqn.params["branches"]
        ]
        return lax.switch(index.exact if self.frozen else index.moved, branches, rest)

    def _next(self) -> Array:
        """The stream of the next operation."""
        return scramble(self.stream + jnp.uint32(next(self._turns) * 0x9E3779B9 & 0xFFFFFFFF))


# Compiled functions, since each is traced once for a shape, and a computation calls them for every
# primitive.


@jax.jit
def _moved(value: Array, size: Array, step: Any, direction: Any, stream: Array) -> Array:
    positions = lax.iota(jnp.uint32, math.prod(value.shape)).reshape(value.shape)
    random = (scramble(positions ^ stream) & 1).astype(bool)
    up = jnp.where(direction == 0, random, direction > 0)
    return value + (jnp.where(up, step, -step) * size).astype(value.dtype)


@jax.jit
def _size(value: Array, nudge: Any, floor: Any) -> Array:
    return jnp.where(value == 0, nudge, abs(value) + floor)


@jax.jit
def _size_of_sum(squares: Array, total: Array, K: Any, nudge: Any, floor: Any) -> Array:
    size = jnp.sqrt(jnp.maximum(K / 2, 1) * squares + jnp.maximum(K / 3 - 0.5, 0) * total**2)
    return jnp.where(squares == 0, nudge, size + floor)


def decides(jaxpr: core.ClosedJaxpr) -> bool:
    """Whether a computation turns real numbers into decisions, at any depth."""
    pending: list[Any] = [jaxpr.jaxpr]
    while pending:
        body = pending.pop()
        pending += core.subjaxprs(body)
        for eqn in body.eqns:
            real = any(_real_type(atom) for atom in eqn.invars)
            name = eqn.primitive.name
            if real and (name in FLOAT_DECISIONS or not all(map(_real_type, eqn.outvars))):
                return True
    return False


@jax.jit
def scramble(x: Array) -> Array:
    """A hash of uint32 to uint32 (Wellons 2018, lowbias32).

    It is random enough for signs, and costs less compile time than a random number generator.
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _terms(eqn: core.JaxprEqn, operands: list[Any]) -> Array | int:
    """The largest number of non-zero terms in any sum, where it is known, else 1."""
    if eqn.primitive.name == "dot_general":
        axes: Any = eqn.params["dimension_numbers"][0]
    elif eqn.primitive.name == "reduce_sum":
        axes = (eqn.params["axes"],)
    elif eqn.primitive.name == "conv_general_dilated":
        kernel, axis = operands[1], eqn.params["dimension_numbers"].rhs_spec[0]
        return kernel.size // kernel.shape[axis]
    else:
        return 1
    counts = [
        (x != 0).sum(axis, dtype=float).max(initial=0)
        for x, axis in zip(operands, axes, strict=True)
    ]
    return jnp.minimum(counts[0], counts[-1])


def _bind(eqn: core.JaxprEqn, operands: list[Any]) -> list[Array]:
    primitive: Any = eqn.primitive
    results = primitive.bind(*operands, **primitive.get_bind_params(eqn.params))
    return results if primitive.multiple_results else [results]


def _opened(jaxpr: Any) -> tuple[core.Jaxpr, Any]:
    """A jaxpr and its constants; an open one has none."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


def _deeper(outer: Any, inner: Any) -> bool:
    return len(outer.aval.shape) > len(inner.aval.shape)


def _real_type(atom: Any) -> bool:
    return hasattr(atom.aval, "dtype") and jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def _real(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.inexact)
