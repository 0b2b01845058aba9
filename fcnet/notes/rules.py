"""The table of the reverse pass: what each operation adds to the adjoints of its operands.

A row maps the adjoint g of the result v = v(a, b, ...), v itself and the operands to one
contribution for each operand: g dv/da for a. None means no contribution. An entrywise row may
return the shape of v: if the operation broadcast an operand, the reverse pass sums. An operation
with several results has a list of adjoints and a list of results.
"""

from collections.abc import Callable, Sequence
from math import pi, sqrt
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array, lax


class Block(NamedTuple):
    """An adjoint that is zero outside a block of its operand; only the block is computed."""

    entries: Array
    starts: Sequence[int | Array]


Contribution: TypeAlias = Array | Block | None
Rule: TypeAlias = Callable[..., Sequence[Contribution]]


def _div(g: Array, v: Array, a: Array, b: Array) -> Sequence[Contribution]:
    share = g / b
    return share, -share * v


def _pow(g: Array, v: Array, a: Array, b: Array) -> Sequence[Contribution]:
    return g * b * a ** (b - 1), g * v * jnp.log(a)


def _max(g: Array, v: Array, a: Array, b: Array) -> Sequence[Contribution]:
    share = jnp.where(a == b, g / 2, jnp.where(a == v, g, jnp.zeros_like(g)))
    return share, g - share


def _select_n(g: Array, v: Array, which: Array, *cases: Array) -> Sequence[Contribution]:
    zero = jnp.zeros_like(g)
    routed = (
        lax.select_n(which, *(g if i == chosen else zero for i in range(len(cases))))
        for chosen in range(len(cases))
    )
    return None, *routed


def _dot_general(
    g: Array, v: Array, a: Array, b: Array, *, dimension_numbers: Any, precision: Any, **_: Any
) -> Sequence[Contribution]:
    # (3.12) and (3.13): the same sum of products, over the axes that g and the other one share
    (a_contracted, b_contracted), (a_batch, b_batch) = dimension_numbers
    in_a = list(range(a.ndim))
    in_b = list(range(a.ndim, a.ndim + b.ndim))
    for i, j in zip((*a_contracted, *a_batch), (*b_contracted, *b_batch), strict=True):
        in_b[j] = in_a[i]
    shared = {in_a[i] for i in (*a_contracted, *a_batch)}
    in_v = [in_a[i] for i in a_batch] + [i for i in in_a + in_b if i not in shared]
    return (
        jnp.einsum(g, in_v, b, in_b, in_a, precision=precision),
        jnp.einsum(g, in_v, a, in_a, in_b, precision=precision),
    )


def _reduce_sum(g: Array, v: Array, a: Array, *, axes: Any, **_: Any) -> Sequence[Contribution]:
    return (jnp.broadcast_to(jnp.expand_dims(g, axes), a.shape),)


def _reduce_max(g: Array, v: Array, a: Array, *, axes: Any, **_: Any) -> Sequence[Contribution]:
    largest = (a == jnp.expand_dims(v, axes)).astype(g.dtype)
    return (jnp.expand_dims(g / largest.sum(axes), axes) * largest,)


def _broadcast_in_dim(
    g: Array, v: Array, a: Array, *, broadcast_dimensions: Any, **_: Any
) -> Sequence[Contribution]:
    copied = [axis for axis in range(g.ndim) if axis not in broadcast_dimensions]
    grown = [j for i, j in enumerate(broadcast_dimensions) if a.shape[i] != g.shape[j]]
    return (jnp.sum(g, (*copied, *grown)).reshape(a.shape),)


def _slice(
    g: Array, v: Array, a: Array, *, start_indices: Any, limit_indices: Any, strides: Any
) -> Sequence[Contribution]:
    if strides is None or set(strides) <= {1}:
        return (Block(g, start_indices),)
    ends = [
        size - (start + (n - 1) * stride + 1)
        for size, start, n, stride in zip(a.shape, start_indices, g.shape, strides, strict=True)
    ]
    gaps = [stride - 1 for stride in strides]
    zero = jnp.zeros((), g.dtype)
    return (lax.pad(g, zero, list(zip(start_indices, ends, gaps, strict=True))),)


def _dynamic_update_slice(
    g: Array, v: Array, a: Array, block: Array, *starts: Array
) -> Sequence[Contribution]:
    kept = lax.dynamic_update_slice(g, jnp.zeros_like(block), starts)
    return kept, lax.dynamic_slice(g, starts, block.shape), *[None] * len(starts)


def _pad(
    g: Array, v: Array, a: Array, padding: Array, *, padding_config: Any
) -> Sequence[Contribution]:
    low, high, gaps = zip(*padding_config, strict=True)
    back = [(-before, -after, 0) for before, after in zip(low, high, strict=True)]
    spread = lax.pad(g, jnp.zeros((), g.dtype), back)
    inside = lax.slice(spread, [0] * g.ndim, spread.shape, [gap + 1 for gap in gaps])
    return inside, jnp.sum(g) - jnp.sum(inside)


def _concatenate(g: Array, v: Array, *parts: Array, dimension: int) -> Sequence[Contribution]:
    return lax.split(g, [part.shape[dimension] for part in parts], dimension)


# rules that look at values only, whatever the parameters of the primitive
_OF_VALUES: dict[str, Rule] = {
    # the operations that the notes name
    "add": lambda g, v, a, b: (g, g),
    "sub": lambda g, v, a, b: (g, -g),
    "mul": lambda g, v, a, b: (g * b, g * a),
    "div": _div,
    "exp": lambda g, v, a: (g * v,),
    "log": lambda g, v, a: (g / a,),
    "sin": lambda g, v, a: (g * jnp.cos(a),),
    "cos": lambda g, v, a: (-g * jnp.sin(a),),
    # other entrywise operations
    "abs": lambda g, v, a: (jnp.where(a >= 0, g, -g),),
    "add_any": lambda g, v, a, b: (g, g),
    "erf": lambda g, v, a: (2 / sqrt(pi) * g / jnp.exp(a * a),),
    "erfc": lambda g, v, a: (-2 / sqrt(pi) * g / jnp.exp(a * a),),
    "expm1": lambda g, v, a: (g * (v + 1),),
    "log1p": lambda g, v, a: (g / (1 + a),),
    "logistic": lambda g, v, a: (g * v * (1 - v),),
    "max": _max,
    "min": _max,
    "neg": lambda g, v, a: (-g,),
    "pow": _pow,
    "rsqrt": lambda g, v, a: (g * v / (-2 * a),),
    "select_n": _select_n,
    "sqrt": lambda g, v, a: (g / (2 * v),),
    "square": lambda g, v, a: (g * (2 * a),),
    "tan": lambda g, v, a: (g * (1 + v * v),),
    "tanh": lambda g, v, a: (g * (1 + v) * (1 - v),),
    # constant between jumps, or declared so
    **dict.fromkeys(("ceil", "floor", "round", "sign", "stop_gradient"), lambda g, v, a: (None,)),
    # wiring that the values' shapes and dtypes describe
    "convert_element_type": lambda g, v, a: (g,),
    "copy": lambda g, v, a: (g,),
    "reshape": lambda g, v, a: (g.reshape(a.shape),),
    "squeeze": lambda g, v, a: (g.reshape(a.shape),),
    "dynamic_slice": lambda g, v, a, *starts: (Block(g, starts), *[None] * len(starts)),
    "dynamic_update_slice": _dynamic_update_slice,
}

_OF_PARAMETERS: dict[str, Rule] = {
    "integer_pow": lambda g, v, a, *, y: (g * (y * lax.integer_pow(a, y - 1)),),
    # sums and products of arrays
    "dot_general": _dot_general,
    "reduce_max": _reduce_max,
    "reduce_min": _reduce_max,
    "reduce_sum": _reduce_sum,
    # wiring
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "pad": _pad,
    "rev": lambda g, v, a, *, dimensions: (lax.rev(g, dimensions),),
    "slice": _slice,
    "split": lambda g, v, a, *, axis, **_: (jnp.concatenate(g, axis),),
    "stack": lambda g, v, *parts, axis: jnp.unstack(g, axis=axis),
    "transpose": lambda g, v, a, *, permutation: (
        g.transpose([permutation.index(axis) for axis in range(g.ndim)]),
    ),
    "unstack": lambda g, v, a, *, axis: (jnp.stack(g, axis),),
}


def _ignoring_parameters(rule: Rule) -> Rule:
    return lambda *values, **_: rule(*values)


RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {name: _ignoring_parameters(rule) for name, rule in _OF_VALUES.items()} | _OF_PARAMETERS
)
"""The rows by the name of the primitive. With the operations of the notes, and ReLU with its own
rule, a gradient takes at most 5 times the operations of the function: an entrywise operation adds
at most 3 for two operands and 4 for one, and each use of a value except the first adds one."""
