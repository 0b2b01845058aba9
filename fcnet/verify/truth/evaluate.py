"""A jaxpr evaluated with NumPy, operation by operation: nothing is compiled first.

XLA needs seconds to compile what NumPy computes in milliseconds. `RULES` has the common primitives;
any other one is compiled alone. An operand may have one axis more in front than the jaxpr says, for
samples; so rules count axes from the end.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import scipy.special
from jax import lax
from jax.extend import core

from fcnet.keys import is_key
from fcnet.verify.truth.double import Traced, float64
from fcnet.verify.truth.jaxprs import NESTED, bind, interpret, shape_of, wrapped

NATIVE = "?bhilqBHILQfd"
"""The dtypes, by NumPy's characters, in which NumPy computes as XLA does."""

BLOCK = 8
"""How many samples a compiled primitive takes at once: so it is compiled once for any number."""


def evaluate(function: Traced, *args: Any) -> Any:
    """What a traced function returns, NumPy arrays.

    Arguments with one axis more in front than those it was traced for are mapped over it.

    >>> from fcnet.verify.truth.double import trace
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> evaluate(trace(lambda x: (x * x).sum(), x), x).item()
    14.0
    """
    jaxpr, consts = function.jaxpr.jaxpr, function.jaxpr.consts
    inputs = list(map(as_value, jax.tree.leaves(args)))
    leads = (
        np.shape(x)[: np.ndim(x) - _rank(v)] for x, v in zip(inputs, jaxpr.invars, strict=True)
    )
    lead = max(leads, key=len, default=())
    with np.errstate(all="ignore"):
        results = _results(jaxpr, consts, inputs)
    results = [
        np.broadcast_to(x, (*lead, *shape_of(v)))
        for x, v in zip(results, jaxpr.outvars, strict=True)
    ]
    return jax.tree.unflatten(function.structure, results)


def _rank(atom: Any) -> int:
    return len(shape_of(atom))


def _results(jaxpr: core.Jaxpr, consts: Iterable[Any], inputs: Iterable[Any]) -> list[Any]:
    return interpret(jaxpr, map(as_value, consts), inputs, _apply)


def _apply(eqn: core.JaxprEqn, operands: list[Any]) -> list[Any]:
    nested = eqn.primitive.name in NESTED
    return _results(*wrapped(eqn), operands) if nested else compute(eqn, operands)


def as_value(x: Any) -> Any:
    """An array of NumPy; random keys, which NumPy does not have, stay JAX's."""
    return x if is_key(x) else np.asarray(x)


def compute(eqn: Any, operands: Sequence[Any]) -> list[Any]:
    """The results of an operation; with an axis of samples if any operand has one."""
    rule = RULES.get(eqn.primitive.name)
    if rule and all(map(_is_native, (*eqn.invars, *eqn.outvars))):
        result = rule(eqn, *operands)
        if result is not NotImplemented:
            return list(result) if eqn.primitive.multiple_results else [result]
    led = tuple(np.ndim(x) > _rank(atom) for x, atom in zip(operands, eqn.invars, strict=True))
    with jax.ensure_compile_time_eval(), float64():
        program = _compiled(eqn.primitive, tuple(eqn.params.items()), led)
        if not any(led):
            return list(map(as_value, program(*operands)))
        count = max(len(x) for x, has in zip(operands, led, strict=True) if has)
        parts = []
        for start in range(0, count, BLOCK):
            rows = np.minimum(np.arange(start, start + BLOCK), count - 1)
            pairs = zip(operands, led, strict=True)
            parts.append(map(as_value, program(*(x[rows] if has else x for x, has in pairs))))
        return [np.concatenate(results)[:count] for results in zip(*parts, strict=True)]


def _is_native(atom: Any) -> bool:
    return getattr(getattr(atom.aval, "dtype", None), "char", "no") in NATIVE


@lru_cache(maxsize=256)
def _compiled(primitive: Any, params: tuple[tuple[str, Any], ...], led: tuple[bool, ...]) -> Any:
    """The program of one primitive; `led` says which operands have an axis of samples."""

    def once(*operands: Any) -> list[Any]:
        return bind(primitive, dict(params), operands)

    def each(*operands: Any) -> list[Any]:
        def one(samples: list[Any]) -> list[Any]:
            rest = iter(samples)
            return once(*(next(rest) if has else x for x, has in zip(operands, led, strict=True)))

        return lax.map(one, [x for x, has in zip(operands, led, strict=True) if has])

    return jax.jit(each if any(led) else once)


Rule = Callable[..., Any]
"""The result of an equation on arrays; `NotImplemented` where NumPy has no function for it."""


def _entrywise(function: Callable[..., Any], kinds: str = "biuf") -> Rule:
    """The rule of a function of entries, for dtypes of some kinds."""

    def rule(eqn: Any, *operands: Any) -> Any:
        if eqn.invars[0].aval.dtype.kind not in kinds:
            return NotImplemented
        return function(*_aligned(eqn, operands))

    return rule


def _aligned(eqn: Any, operands: Sequence[Any]) -> list[Any]:
    """Operands that broadcast: a number for each sample gets the axes of the result."""
    rank = _rank(eqn.outvars[0])
    return [
        x.reshape(*x.shape[:1], *(1,) * rank) if np.ndim(x) == 1 > _rank(atom) else x
        for x, atom in zip(operands, eqn.invars, strict=True)
    ]


def _on_shape(function: Callable[..., Any]) -> Rule:
    """The rule of a function of (parameters, rank, leading axes, array)."""

    def rule(eqn: Any, x: Any, *others: Any) -> Any:
        rank = _rank(eqn.invars[0])
        return function(eqn.params, rank, np.shape(x)[: np.ndim(x) - rank], x, *others)

    return rule


def _broadcast_in_dim(p: Mapping[str, Any], rank: int, lead: Any, x: Any, *dynamic: Any) -> Any:
    if dynamic:
        return NotImplemented
    shape = [1] * len(p["shape"])
    for axis, size in zip(p["broadcast_dimensions"], x.shape[len(lead) :], strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape((*lead, *shape)), (*lead, *p["shape"]))


def _reshape(p: Mapping[str, Any], rank: int, lead: Any, x: Any, *dynamic: Any) -> Any:
    if dynamic or p["dimensions"] is not None:
        return NotImplemented
    return x.reshape((*lead, *p["new_sizes"]))


def _transpose(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
    return np.transpose(x, [*range(len(lead)), *(len(lead) + i for i in p["permutation"])])


def _squeeze(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
    return np.squeeze(x, tuple(axis - rank for axis in p["dimensions"]))


def _slice(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
    strides = p["strides"] or (1,) * rank
    bounds = zip(p["start_indices"], p["limit_indices"], strides, strict=True)
    return x[(..., *(slice(*triple) for triple in bounds))]


def _rev(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
    return np.flip(x, tuple(axis - rank for axis in p["dimensions"]))


def _split(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
    return np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"] - rank)


def _round(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
    to_even = p["rounding_method"] == lax.RoundingMethod.TO_NEAREST_EVEN
    return np.rint(x) if to_even else NotImplemented


def _cumsum(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
    axis = p["axis"] - rank
    if p["reverse"]:
        return np.flip(np.cumsum(np.flip(x, axis), axis, x.dtype), axis)
    return np.cumsum(x, axis, x.dtype)


def _sort(p: Mapping[str, Any], rank: int, lead: Any, x: Any, *others: Any) -> Any:
    return NotImplemented if others else [np.sort(x, p["dimension"] - rank)]


def _polygamma(n: Any, x: Any) -> Any:
    """The derivative of order n of digamma, for whole numbers n in floating point."""
    factor = np.cos(np.pi * (n + 1)) * scipy.special.gamma(n + 1)
    return np.where(n == 0, scipy.special.psi(x), factor * scipy.special.zeta(n + 1, x))


def _index_of(function: Callable[..., Any]) -> Rule:
    def rule(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
        (axis,) = p["axes"]
        return function(x, axis - rank).astype(p["index_dtype"])

    return _on_shape(rule)


def _reduced(ufunc: np.ufunc) -> Rule:
    def rule(p: Mapping[str, Any], rank: int, lead: Any, x: Any) -> Any:
        if not x.size and ufunc.identity is None:
            return NotImplemented
        return ufunc.reduce(x, axis=tuple(axis - rank for axis in p["axes"]), dtype=x.dtype)

    return _on_shape(rule)


def _iota(eqn: Any, *dynamic: Any) -> Any:
    p = eqn.params
    if dynamic:
        return NotImplemented
    ends = [-1 if axis == p["dimension"] else 1 for axis in range(len(p["shape"]))]
    numbers = np.arange(p["shape"][p["dimension"]], dtype=p["dtype"])
    return np.broadcast_to(numbers.reshape(ends), p["shape"])


def _concatenate(eqn: Any, *operands: Any) -> Any:
    rank = _rank(eqn.outvars[0])
    lead = np.broadcast_shapes(*(x.shape[: x.ndim - rank] for x in operands))
    led = [np.broadcast_to(x, (*lead, *x.shape[x.ndim - rank :])) for x in operands]
    return np.concatenate(led, eqn.params["dimension"] - rank)


def _pad(eqn: Any, x: Any, value: Any) -> Any:
    config = eqn.params["padding_config"]
    if value.ndim or any(low < 0 or high < 0 for low, high, _ in config):
        return NotImplemented
    rank = len(config)
    result = np.full((*x.shape[: x.ndim - rank], *shape_of(eqn.outvars[0])), value, x.dtype)
    inside = zip(config, x.shape[x.ndim - rank :], strict=True)
    places: Any = (
        slice(low, low + (n - 1) * (gap + 1) + 1, gap + 1) for (low, _, gap), n in inside
    )
    if x.size:
        result[(..., *places)] = x
    return result


def _dynamic_slice(eqn: Any, x: Any, *starts: Any) -> Any:
    sizes = eqn.params["slice_sizes"]
    if len(starts) != len(sizes) or any(np.ndim(start) for start in starts):
        return NotImplemented
    lengths = x.shape[x.ndim - len(sizes) :]
    firsts = [
        min(max(int(start), 0), n - size)
        for start, n, size in zip(starts, lengths, sizes, strict=True)
    ]
    return x[(..., *(slice(i, i + size) for i, size in zip(firsts, sizes, strict=True)))]


def _convert_element_type(eqn: Any, x: Any) -> Any:
    dtype = np.dtype(eqn.params["new_dtype"])
    if x.dtype.kind == "f" and dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, float(np.iinfo(dtype).max)
        if not ((x >= low) & (x < high)).all():  # NaN too: for these NumPy has no fixed result
            return NotImplemented
    return x.astype(dtype)


def _select_n(eqn: Any, *operands: Any) -> Any:
    which, *choices = _aligned(eqn, operands)
    if which.dtype != bool or len(choices) != 2:
        return NotImplemented
    return np.where(which, choices[1], choices[0])


def _dot_general(eqn: Any, x: Any, y: Any) -> Any:
    (x_summed, y_summed), (x_batch, y_batch) = eqn.params["dimension_numbers"]
    (result,) = eqn.outvars
    shapes = [shape_of(atom) for atom in eqn.invars]
    x_free = [i for i in range(len(shapes[0])) if i not in (*x_summed, *x_batch)]
    y_free = [i for i in range(len(shapes[1])) if i not in (*y_summed, *y_batch)]
    left = _as_matrices(x.astype(result.aval.dtype, copy=False), x_batch, x_free, x_summed)
    right = _as_matrices(y.astype(result.aval.dtype, copy=False), y_batch, y_summed, y_free)
    product = left @ right
    lead = product.shape[: product.ndim - len(x_batch) - 2]
    return product.reshape((*lead, *shape_of(result)))


def _as_matrices(x: Any, batch: Any, rows: Any, columns: Any) -> Any:
    """The array as a stack of matrices, with one axis for the rows and one for the columns."""
    order = (*batch, *rows, *columns)
    lead = x.ndim - len(order)
    x = x.transpose([*range(lead), *(lead + i for i in order)])
    shape = x.shape[lead + len(batch) :]
    sizes = map(math.prod, (shape[: len(rows)], shape[len(rows) :]))
    return x.reshape((*x.shape[: lead + len(batch)], *sizes))


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "abs": _entrywise(np.abs),
        "sign": _entrywise(np.sign),
        "exp": _entrywise(np.exp, "f"),
        "exp2": _entrywise(np.exp2, "f"),
        "expm1": _entrywise(np.expm1, "f"),
        "log": _entrywise(np.log, "f"),
        "log1p": _entrywise(np.log1p, "f"),
        "sin": _entrywise(np.sin, "f"),
        "cos": _entrywise(np.cos, "f"),
        "tan": _entrywise(np.tan, "f"),
        "sinh": _entrywise(np.sinh, "f"),
        "cosh": _entrywise(np.cosh, "f"),
        "tanh": _entrywise(np.tanh, "f"),
        "sqrt": _entrywise(np.sqrt, "f"),
        "cbrt": _entrywise(np.cbrt, "f"),
        "floor": _entrywise(np.floor, "f"),
        "ceil": _entrywise(np.ceil, "f"),
        "asin": _entrywise(np.arcsin, "f"),
        "acos": _entrywise(np.arccos, "f"),
        "atan": _entrywise(np.arctan, "f"),
        "asinh": _entrywise(np.arcsinh, "f"),
        "acosh": _entrywise(np.arccosh, "f"),
        "atanh": _entrywise(np.arctanh, "f"),
        "atan2": _entrywise(np.arctan2, "f"),
        "erf": _entrywise(scipy.special.erf, "f"),
        "erfc": _entrywise(scipy.special.erfc, "f"),
        "erf_inv": _entrywise(scipy.special.erfinv, "f"),
        "lgamma": _entrywise(scipy.special.gammaln, "f"),
        "digamma": _entrywise(scipy.special.psi, "f"),
        "polygamma": _entrywise(_polygamma, "f"),
        "zeta": _entrywise(scipy.special.zeta, "f"),
        "igamma": _entrywise(scipy.special.gammainc, "f"),
        "igammac": _entrywise(scipy.special.gammaincc, "f"),
        "regularized_incomplete_beta": _entrywise(scipy.special.betainc, "f"),
        "bessel_i0e": _entrywise(scipy.special.i0e, "f"),
        "bessel_i1e": _entrywise(scipy.special.i1e, "f"),
        "is_finite": _entrywise(np.isfinite, "f"),
        "rsqrt": _entrywise(lambda x: 1 / np.sqrt(x), "f"),
        "logistic": _entrywise(lambda x: 1 / (1 + np.exp(-x)), "f"),
        "square": _entrywise(np.square),
        "neg": _entrywise(np.negative),
        "not": _entrywise(np.invert),
        "add": _entrywise(np.add),
        "add_any": _entrywise(np.add),
        "sub": _entrywise(np.subtract),
        "mul": _entrywise(np.multiply),
        "div": _entrywise(np.divide, "f"),
        "rem": _entrywise(np.fmod, "f"),
        "pow": _entrywise(np.power, "f"),
        "max": _entrywise(np.maximum),
        "min": _entrywise(np.minimum),
        "and": _entrywise(np.bitwise_and),
        "or": _entrywise(np.bitwise_or),
        "xor": _entrywise(np.bitwise_xor),
        "eq": _entrywise(np.equal),
        "ne": _entrywise(np.not_equal),
        "lt": _entrywise(np.less),
        "le": _entrywise(np.less_equal),
        "gt": _entrywise(np.greater),
        "ge": _entrywise(np.greater_equal),
        "clamp": _entrywise(lambda low, x, high: np.minimum(np.maximum(low, x), high)),
        "copy": _entrywise(np.asarray),
        "name": _entrywise(np.asarray),
        "stop_gradient": _entrywise(np.asarray),
        "integer_pow": lambda eqn, x: x ** eqn.params["y"],
        "convert_element_type": _convert_element_type,
        "optimization_barrier": lambda eqn, *operands: operands,
        "select_n": _select_n,
        "broadcast_in_dim": _on_shape(_broadcast_in_dim),
        "reshape": _on_shape(_reshape),
        "transpose": _on_shape(_transpose),
        "squeeze": _on_shape(_squeeze),
        "slice": _on_shape(_slice),
        "rev": _on_shape(_rev),
        "split": _on_shape(_split),
        "round": _on_shape(_round),
        "cumsum": _on_shape(_cumsum),
        "sort": _on_shape(_sort),
        "argmax": _index_of(np.argmax),
        "argmin": _index_of(np.argmin),
        "reduce_sum": _reduced(np.add),
        "reduce_prod": _reduced(np.multiply),
        "reduce_max": _reduced(np.maximum),
        "reduce_min": _reduced(np.minimum),
        "reduce_and": _reduced(np.bitwise_and),
        "reduce_or": _reduced(np.bitwise_or),
        "iota": _iota,
        "concatenate": _concatenate,
        "pad": _pad,
        "dynamic_slice": _dynamic_slice,
        "dot_general": _dot_general,
    }
)
"""The primitives that NumPy computes, by name."""
