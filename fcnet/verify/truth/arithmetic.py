"""Monte-Carlo arithmetic: a jaxpr evaluated with the result of every primitive moved a little.

Each value is carried twice, exact and moved. Decisions (comparisons, signs, integers) can then be
those of the exact computation, and a ReLU at its kink does not switch. All samples are computed
together: what is moved has an axis for them in front.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from fcnet.verify.truth.evaluate import as_value, compute
from fcnet.verify.truth.jaxprs import NESTED, bodies, interpret, opened, wrapped

FLOAT_DECISIONS = frozenset({"sign", "floor", "ceil", "round"})
"""Primitives whose result is a decision, though its dtype is floating."""

CHOICES = MappingProxyType({"select_and_scatter_add": 1, "select_and_gather_add": 1})
"""Primitives that choose entries, and the place of the operand whose numbers decide which ones."""

EXACT = frozenset(
    {"abs", "broadcast_in_dim", "clamp", "concatenate", "convert_element_type", "copy", "copy_p"}
    | {"cummax", "cummin", "dynamic_slice", "dynamic_update_slice", "gather", "imag", "max", "min"}
    | {"name", "neg", "optimization_barrier", "pad", "real", "reduce_max", "reduce_min"}
    | {"reduce_window_max", "reduce_window_min", "reshape", "rev", "scatter", "scatter-max"}
    | {"scatter-min", "select_n", "slice", "sort", "split", "squeeze", "top_k", "transpose"}
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

ROUNDINGS = MappingProxyType(
    {
        "lgamma": 5,
        "digamma": 3,
        "polygamma": 12,
        "zeta": 2,
        "erfc": 5,
        "erf_inv": 4,
        "bessel_i1e": 3,
    }
    | {
        "igamma": 40,
        "igammac": 40,
        "igamma_grad_a": 40,
        "regularized_incomplete_beta": 300,
        "atanh": 20,
    }
    | {"eig": 4, "schur": 4}
)
"""By how many roundings some functions of JAX are off: the root mean square in float32 and float64,
beside SciPy's functions and 40 digits. All others are off by one."""

NEAR_ZERO = frozenset({"lgamma", "digamma"})
"""Functions with roots. Near a root their error is relative to 1, not to their value."""

WHOLE_NUMBERS = frozenset({"add", "sub", "mul"})
"""Primitives that do not round whole numbers."""

NORMAL = (float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max))
"""Numbers beyond these have lost digits by underflow, or are infinite."""


class Pair(NamedTuple):
    """A value of the computation, exact and moved; one that never moves has no axis of samples."""

    exact: Any
    moved: Any


@dataclass(frozen=True)
class MonteCarlo:
    """Samples of a computation whose roundings are random.

    Attributes:
        samples: how many.
        step: the relative size of a move.
        floor: an absolute size added to each move, in units of the step: what underflow loses.
        seed: of the random signs.
        frozen: whether decisions are those of the exact computation.
        nudge: the size of the move of a result that is 0; by default such a result is exact.
        directions: for each sample 1 or -1 to move all results up or down, 0 for random directions.
    """

    samples: int
    step: float
    floor: float = 0.0
    seed: int = 0
    frozen: bool = True
    nudge: float = 0.0
    directions: np.ndarray | None = None

    @cached_property
    def _draw(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def run(self, jaxpr: core.Jaxpr, consts: Iterable[Any], inputs: Iterable[Pair]) -> list[Pair]:
        """The results of a jaxpr; `consts` are the values of its constant variables."""
        fixed = (Pair(x, x) for x in map(as_value, consts))
        return interpret(jaxpr, fixed, inputs, self._apply, lambda x: Pair(x, x))

    def start(self, value: Any) -> Pair:
        """An input, moved like the result of an operation."""
        return Pair(value, self._move(value, self._size(value)))

    def all_samples(self, pair: Pair) -> Any:
        """The moved value with its axis of samples, even if it never moved."""
        return np.broadcast_to(pair.moved, (self.samples, *np.shape(pair.exact)))

    def _move(self, value: Any, size: Any) -> Any:
        largest = _largest(value.dtype)  # so infinity stays: from it, inf gives NaN
        size = np.minimum(self.step * size, largest).astype(value.dtype)
        shape = (self.samples, *np.shape(size))
        count = int(np.prod(shape))
        bits = np.frombuffer(self._draw.bytes(-(-count // 8)), np.uint8)
        up = np.unpackbits(bits, count=count).view(bool).reshape(shape)
        if self.directions is None:
            return value + np.where(up, size, -size)
        # Of several equal entries any may become the largest, so random moves differ in size.
        direction = _in_front(self.directions, size)
        random = self._draw.uniform(-1, 1, shape)
        return value + size * np.where(direction == 0, random, direction)

    def _apply(self, eqn: core.JaxprEqn, operands: list[Pair]) -> list[Pair]:
        name = eqn.primitive.name
        if name in NESTED:
            return self.run(*wrapped(eqn), operands)
        if name == "scan":
            return self._scan(eqn, operands)
        if name == "cond":
            return self._cond(eqn, operands)
        unmoved = [p.exact for p in operands]
        exact = compute(eqn, unmoved)
        if self.frozen and all(name in FLOAT_DECISIONS or not _real(x) for x in exact):
            return [Pair(x, x) for x in exact]
        moved = [self._operand(name, i, pair) for i, pair in enumerate(operands)]
        still = all(x is y for x, y in zip(unmoved, moved, strict=True))
        pairs = map(Pair, exact, exact if still else map(_defined, compute(eqn, moved), exact))
        if not self.frozen and name in WHOLE_NUMBERS and all(map(_is_whole, moved)):
            return list(pairs)  # floor(x) + 1 is exact, as an index must be
        return [self._rounded(eqn, unmoved, pair) for pair in pairs]

    def _operand(self, name: str, i: int, pair: Pair) -> Any:
        """What operand i of a primitive is in the moved computation."""
        if name in WHOLE and _real(pair.exact):
            size = ROUNDINGS.get(name, 1) * self._size_of_whole(pair.exact)
            return self._move(pair.moved, size)
        return pair.exact if self.frozen and i == CHOICES.get(name) else pair.moved

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
            least = float(name in NEAR_ZERO)
            size = ROUNDINGS.get(name, 1) * np.maximum(self._size(pair.exact), least)
        return pair._replace(moved=self._move(pair.moved, size))

    def _size(self, value: Any) -> Any:
        return np.where(value == 0, self.nudge, abs(value) + self.floor)

    def _size_of_whole(self, value: Any) -> Any:
        """Alike for all entries: such an algorithm is backward stable in the norm only."""
        rows = math.prod(value.shape[-2:-1])
        norm = np.sqrt(rows * np.mean(abs(value) ** 2))
        return np.where(value == 0, self.nudge, norm + self.floor)

    def _size_of_sum(self, eqn: core.JaxprEqn, operands: list[Any], total: Any) -> Any:
        """The root mean square of the partial sums, times that of their number.

        Recursive summation rounds every partial sum. Of K terms, let D be the sum and Q the sum of
        squares. In random order, the squares of their partial sums add up to K Q / 6 + K D^2 / 3 on
        average; K Q / 2 here leaves room for other orders. Where squares underflow or overflow, it
        is at most the sum of the sizes S, times the root of K.
        """
        (Q,), (S,) = (
            compute(eqn, [part(x) if _real(x) else x for x in operands])
            for part in (np.square, abs)
        )
        K = _terms(eqn, operands)
        size = np.sqrt(np.maximum(K / 2, 1) * Q + np.maximum(K / 3 - 0.5, 0) * total**2)
        least, most = NORMAL
        size = np.where((least <= Q) & (size <= most), size, math.sqrt(K) * S)
        return np.where(S == 0, self.nudge, size + self.floor)

    def _scan(self, eqn: core.JaxprEqn, operands: list[Pair]) -> list[Pair]:
        jaxpr, consts = opened(eqn.params["jaxpr"])
        # What the scan takes apart, and stacks, has one more axis outside than inside.
        taken = sum(map(_deeper, eqn.invars, jaxpr.invars))
        stacked = sum(map(_deeper, eqn.outvars, jaxpr.outvars))
        carried = len(jaxpr.outvars) - stacked
        first = len(operands) - taken
        fixed, carry = operands[: first - carried], operands[first - carried : first]
        turns = range(eqn.params["length"])
        rows = []
        for i in reversed(turns) if eqn.params["reverse"] else turns:
            xs = [_row(x, i) for x in operands[first:]]
            results = self.run(jaxpr, consts, [*fixed, *carry, *xs])
            carry = results[:carried]
            rows.append(results[carried:])
        if eqn.params["reverse"]:
            rows.reverse()
        columns = ([row[j] for row in rows] for j in range(stacked))
        return [*carry, *map(self._stack, columns, eqn.outvars[carried:])]

    def _stack(self, pairs: list[Pair], like: Any) -> Pair:
        exact = np.empty(like.aval.shape, like.aval.dtype)
        moved = np.empty((self.samples, *exact.shape), exact.dtype)
        for i, pair in enumerate(pairs):
            exact[i], moved[:, i] = pair
        return Pair(exact, moved)

    def _cond(self, eqn: core.JaxprEqn, operands: list[Pair]) -> list[Pair]:
        index, *rest = operands
        branches = eqn.params["branches"]
        # A branch draws from a generator of its own, so that which one it is changes no later draw.
        inner = replace(self, seed=int(self._draw.integers(2**63)))

        def run(i: Any) -> list[Pair]:
            return replace(inner).run(*opened(branches[np.clip(i, 0, len(branches) - 1)]), rest)

        results = run(index.exact)
        if self.frozen:
            return results
        for i in set(np.ravel(index.moved).tolist()) - {index.exact.item()}:
            taken = np.ravel(index.moved) == i
            results = [
                Pair(kept.exact, np.where(_in_front(taken, kept.exact), other.moved, kept.moved))
                for kept, other in zip(results, run(i), strict=True)
            ]
        return results


def decides(jaxpr: core.ClosedJaxpr) -> bool:
    """Whether a computation turns real numbers into decisions, at any depth.

    What only runs other operations, such as a loop that counts its turns, decides nothing itself.
    """
    return any(
        any(map(_real_type, eqn.invars))
        and (
            eqn.primitive.name in (*FLOAT_DECISIONS, *CHOICES)
            or not all(map(_real_type, eqn.outvars))
        )
        for body in bodies(jaxpr.jaxpr)
        for eqn in body.eqns
        if not any(core.jaxprs_in_params(eqn.params))
    )


def _terms(eqn: core.JaxprEqn, operands: list[Any]) -> Any:
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
        (x != 0).sum(tuple(axis), dtype=float).max(initial=0)
        for x, axis in zip(operands, axes, strict=True)
    ]
    return min(counts)


@lru_cache(maxsize=16)
def _largest(dtype: Any) -> float:
    finfo: Any = jnp.finfo
    return float(finfo(dtype).max)


def _defined(moved: Any, exact: Any) -> Any:
    """The samples, with the exact number where a move has left the domain of a function as sqrt."""
    lost = np.isnan(moved) if _real(exact) else np.zeros(())
    return np.where(lost & ~np.isnan(exact), exact, moved) if lost.any() else moved


def _is_whole(values: Any) -> bool:
    return _real(values) and bool((values == np.rint(values)).all())


def _in_front(x: np.ndarray, array: Any) -> np.ndarray:
    """The vector of one number for each sample, to broadcast with samples of an array."""
    return x.reshape(-1, *(1,) * np.ndim(array))


def _row(pair: Pair, i: int) -> Pair:
    """Entry i of the first axis."""
    samples = np.ndim(pair.moved) > np.ndim(pair.exact)
    return Pair(pair.exact[i], pair.moved[:, i] if samples else pair.moved[i])


def _deeper(outer: Any, inner: Any) -> bool:
    return len(outer.aval.shape) > len(inner.aval.shape)


def _real_type(atom: Any) -> bool:
    return hasattr(atom.aval, "dtype") and jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def _real(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.inexact)
