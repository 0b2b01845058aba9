"""Monte-Carlo arithmetic: a jaxpr evaluated with the result of every primitive moved a little.

The exact value is carried beside its samples. Decisions (comparisons, signs, integers) can then be
those of the exact computation, and a ReLU at its kink does not switch. All samples are computed
together, and so are those of several cases.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from fcnet.verify.truth.evaluate import as_value, compute
from fcnet.verify.truth.jaxprs import NESTED, bodies, interpret, opened, shape_of, wrapped

FLOAT_DECISIONS = frozenset({"sign", "floor", "ceil", "round"})
"""Primitives whose result is a decision, though its dtype is floating."""

CHOICES = MappingProxyType({"select_and_scatter_add": 1, "select_and_gather_add": 1})
"""Primitives that choose entries, and the place of the operand whose numbers decide which ones."""

EXACT = frozenset(
    {"abs", "broadcast_in_dim", "clamp", "concatenate", "convert_element_type", "copy", "copy_p"}
    | {"cummax", "cummin", "dynamic_slice", "dynamic_update_slice", "gather", "imag", "max", "min"}
    | {"name", "neg", "optimization_barrier", "pad", "real", "reduce_max", "reduce_min"}
    | {"reduce_window_max", "reduce_window_min", "reshape", "rev", "scatter", "scatter-max"}
    | {"scatter-min", "select_n", "slice", "sort", "split", "squeeze", "stop_gradient", "top_k"}
    | {"transpose"}
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


@dataclass(frozen=True)
class MonteCarlo:
    """Samples of a computation whose roundings are random.

    An array that never moves is as the jaxpr says. Any other has one axis more in front: for each
    case the exact value, and then the samples.

    Attributes:
        samples: how many of each case.
        step: the relative size of a move.
        floor: an absolute size added to each move, in units of the step: what underflow loses.
        seed: of the random signs.
        frozen: whether decisions are those of the exact computation.
        nudge: the size of the move of a result that is 0; by default such a result is exact.
        directions: for each sample 1 or -1 to move all results up or down, 0 for random directions.
        cases: how many sets of inputs are computed together.
    """

    samples: int
    step: float
    floor: float = 0.0
    seed: int = 0
    frozen: bool = True
    nudge: float = 0.0
    directions: np.ndarray | None = None
    cases: int = 1

    @cached_property
    def switched(self) -> np.ndarray:
        """For each case, whether a sample decided otherwise than the exact computation."""
        return np.zeros(self.cases, bool)

    @cached_property
    def _draw(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def run(self, jaxpr: core.Jaxpr, consts: Iterable[Any], inputs: Iterable[Any]) -> list[Any]:
        """The results of a jaxpr; `consts` are the values of its constant variables."""
        return interpret(jaxpr, map(as_value, consts), inputs, self._apply)

    def inputs(self, values: Sequence[Any], moved: bool = False) -> Any:
        """An argument of all cases, exact; or moved like the result of an operation."""
        shape, together = np.shape(values[0]), values[0]
        if len(values) > 1:
            together = np.repeat(np.stack(values), 1 + self.samples, 0)
        if not (moved and together.size):
            return together
        size = self._size(self._exact(together, shape))
        return self._move(together, size, shape)

    def taken_apart(self, value: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """The exact results of all cases, and the samples of each."""
        groups = np.broadcast_to(self._groups(value, shape), (self.cases, 1 + self.samples, *shape))
        return groups[:, 0], groups[:, 1:]

    def _groups(self, value: Any, shape: tuple[int, ...]) -> Any:
        """With an axis of cases and one of samples, the exact value first."""
        led = np.ndim(value) > len(shape)
        return value.reshape(*((self.cases, -1) if led else (1, 1)), *shape)

    def _exact(self, value: Any, shape: tuple[int, ...]) -> Any:
        """The exact value; of several cases with an axis for them."""
        if np.ndim(value) == len(shape):
            return value
        return value[0] if self.cases == 1 else value[:: 1 + self.samples]

    def _move(self, value: Any, size: Any, shape: tuple[int, ...]) -> Any:
        largest = _largest(value.dtype)  # so infinity stays: from it, inf gives NaN
        size = np.minimum(self.step * size, largest).astype(value.dtype)
        size = size.reshape(-1, 1, *shape)
        drawn = (self.cases, self.samples, *shape)
        count = math.prod(drawn)
        bits = np.frombuffer(self._draw.bytes(-(-count // 8)), np.uint8)
        up = np.unpackbits(bits, count=count).view(bool).reshape(drawn)
        if self.directions is None:
            moves = np.where(up, size, -size)
        else:  # of several equal entries any may become the largest: random moves differ in size
            direction = _in_front(self.directions, shape)
            random = self._draw.uniform(-1, 1, drawn)
            moves = size * np.where(direction == 0, random, direction)
        result = np.empty((self.cases, 1 + self.samples, *shape), value.dtype)
        result[:] = self._groups(value, shape)
        result[:, 1:] += moves
        return result.reshape(-1, *shape)

    def _apply(self, eqn: core.JaxprEqn, operands: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        if name in NESTED:
            return self.run(*wrapped(eqn), operands)
        if name == "scan":
            return self._scan(eqn, operands)
        if name == "cond":
            return self._cond(eqn, operands)
        operands = [
            self._operand(eqn, i, x, shape_of(atom))
            for i, (x, atom) in enumerate(zip(operands, eqn.invars, strict=True))
        ]
        results = zip(compute(eqn, operands), map(shape_of, eqn.outvars), strict=True)
        return [self._result(eqn, operands, x, shape) for x, shape in results]

    def _operand(self, eqn: core.JaxprEqn, i: int, value: Any, shape: tuple[int, ...]) -> Any:
        """What operand i of a primitive is in the moved computation."""
        name = eqn.primitive.name
        if name in WHOLE and _real(value):
            exact = self._exact(value, shape)
            if name == "triangular_solve" and i == 0:
                exact = _triangle(exact, **eqn.params)
            packed = name == "custom_linear_solve"  # L, of numbers near 1, and U in one array
            size = self._size(exact) if packed else self._size_of_whole(exact, shape)
            return self._move(value, ROUNDINGS.get(name, 1) * size, shape)
        return self._decided(value, shape) if i == CHOICES.get(name) else value

    def _result(
        self, eqn: core.JaxprEqn, operands: list[Any], value: Any, shape: tuple[int, ...]
    ) -> Any:
        """What a primitive returned, moved as much as the primitive rounds."""
        name = eqn.primitive.name
        if name in FLOAT_DECISIONS or not _real(value):
            return self._decided(value, shape)
        value = self._defined(value, shape)
        if name in EXACT:
            return value
        if self.directions is not None and name in WHOLE_NUMBERS and all(map(_is_whole, operands)):
            return value  # floor(x) + 1 is exact, as an index must be
        exact = self._exact(value, shape)
        if name in SUMS:
            size = self._size_of_sum(eqn, operands, exact)
        else:
            least = float(name in NEAR_ZERO)
            size = ROUNDINGS.get(name, 1) * np.maximum(self._size(exact), least)
        return self._move(value, size, shape)

    def _decided(self, value: Any, shape: tuple[int, ...]) -> Any:
        """A decision: that of the exact computation if they are frozen."""
        if np.ndim(value) == len(shape):
            return value
        groups = self._groups(value, shape)
        if not self.frozen and (differs := groups != groups[:, :1]).any():
            self.switched[:] |= differs.reshape(self.cases, -1).any(1)
            return value
        alike = self.cases == 1 or (groups[:, 0] == groups[0, 0]).all()
        return groups[0, 0] if alike else np.repeat(groups[:, 0], 1 + self.samples, 0)

    def _defined(self, value: Any, shape: tuple[int, ...]) -> Any:
        """With the exact number where a move has left the domain of a function as sqrt."""
        if np.ndim(value) == len(shape) or not np.isnan(value).any():
            return value
        groups = self._groups(value, shape)
        return np.where(np.isnan(groups), groups[:, :1], groups).reshape(value.shape)

    def _size(self, value: Any) -> Any:
        return np.where(value == 0, self.nudge, abs(value) + self.floor)

    def _size_of_whole(self, value: Any, shape: tuple[int, ...]) -> Any:
        """Alike for all entries: such an algorithm is backward stable in the norm only."""
        axes = tuple(range(-len(shape), 0))
        rows = math.prod(shape[-2:-1])
        norm = np.sqrt(rows * np.mean(abs(value) ** 2, axes, keepdims=True))
        return np.where(value == 0, self.nudge, norm + self.floor)

    def _size_of_sum(self, eqn: core.JaxprEqn, operands: list[Any], total: Any) -> Any:
        """The root mean square of the partial sums, times that of their number.

        Recursive summation rounds every partial sum. Of K terms, let D be the sum and Q the sum of
        squares. In random order, the squares of their partial sums add up to K Q / 6 + K D^2 / 3 on
        average; K Q / 2 here leaves room for other orders. Where squares underflow or overflow, it
        is at most the sum of the sizes S, times the root of K.
        """
        pairs = zip(operands, map(shape_of, eqn.invars), strict=True)
        operands = [self._exact(x, shape) for x, shape in pairs]
        (Q,), (S,) = (
            compute(eqn, [part(x) if _real(x) else x for x in operands])
            for part in (np.square, abs)
        )
        K = _terms(eqn, operands)
        size = np.sqrt(np.maximum(K / 2, 1) * Q + np.maximum(K / 3 - 0.5, 0) * total**2)
        least, most = NORMAL
        size = np.where((least <= Q) & (size <= most), size, math.sqrt(K) * S)
        return np.where(S == 0, self.nudge, size + self.floor)

    def _scan(self, eqn: core.JaxprEqn, operands: list[Any]) -> list[Any]:
        jaxpr, consts = opened(eqn.params["jaxpr"])
        # What the scan takes apart, and stacks, has one more axis outside than inside.
        taken = sum(map(_deeper, eqn.invars, jaxpr.invars))
        stacked = sum(map(_deeper, eqn.outvars, jaxpr.outvars))
        carried = len(jaxpr.outvars) - stacked
        first = len(operands) - taken
        fixed, carry = operands[: first - carried], operands[first - carried : first]
        ranks = [len(shape_of(atom)) for atom in eqn.invars[first:]]
        turns = range(eqn.params["length"])
        rows = []
        for i in reversed(turns) if eqn.params["reverse"] else turns:
            pairs = zip(operands[first:], ranks, strict=True)
            xs = [x[:, i] if np.ndim(x) > rank else x[i] for x, rank in pairs]
            results = self.run(jaxpr, consts, [*fixed, *carry, *xs])
            carry = results[:carried]
            rows.append(results[carried:])
        if eqn.params["reverse"]:
            rows.reverse()
        columns = ([row[j] for row in rows] for j in range(stacked))
        return [*carry, *map(self._stack, columns, eqn.outvars[carried:])]

    def _stack(self, rows: list[Any], like: Any) -> Any:
        led = any(np.ndim(x) == len(shape_of(like)) for x in rows)
        lead = (self.cases * (1 + self.samples),) if led else ()
        result = np.empty((*lead, *shape_of(like)), like.aval.dtype)
        for i, x in enumerate(rows):
            result[(slice(None),) * led + (i,)] = x
        return result

    def _cond(self, eqn: core.JaxprEqn, operands: list[Any]) -> list[Any]:
        index, *rest = operands
        branches = eqn.params["branches"]
        which = np.clip(index, 0, len(branches) - 1)
        # A branch draws from a generator of its own, so that which one it is changes no later draw.
        inner = replace(self, seed=int(self._draw.integers(2**63)))
        results: list[Any] = []
        for i in np.unique(which).tolist():
            branch = replace(inner)
            other = branch.run(*opened(branches[i]), rest)
            self.switched[:] |= branch.switched
            results = [
                np.where(_in_front(which == i, shape_of(atom)), x, kept) if results else x
                for x, kept, atom in zip(other, results or other, eqn.outvars, strict=True)
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


def _triangle(value: Any, *, lower: bool, unit_diagonal: bool, **others: Any) -> Any:
    """The part of a matrix that a triangular solve reads: L and U may lie in one array."""
    return np.tril(value, -unit_diagonal) if lower else np.triu(value, unit_diagonal)


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
    counts = []
    for x, atom, axis in zip(operands, eqn.invars, axes, strict=True):
        from_end = tuple(i - len(shape_of(atom)) for i in axis)
        counts.append((x != 0).sum(from_end, dtype=float).max(initial=0))
    return min(counts)


@lru_cache(maxsize=16)
def _largest(dtype: Any) -> float:
    finfo: Any = jnp.finfo
    return float(finfo(dtype).max)


def _is_whole(values: Any) -> bool:
    return _real(values) and bool((values == np.rint(values)).all())


def _in_front(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The vector of one number for each sample, to broadcast with samples of this shape."""
    return x.reshape(-1, *(1,) * len(shape))


def _deeper(outer: Any, inner: Any) -> bool:
    return len(outer.aval.shape) > len(inner.aval.shape)


def _real_type(atom: Any) -> bool:
    return hasattr(atom.aval, "dtype") and jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def _real(value: Any) -> bool:
    return _is_inexact(value.dtype)


@lru_cache(maxsize=64)
def _is_inexact(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)
