"""The size N of a function as a circuit, for Theorem 3.1.

A circuit is the result of `jax.make_jaxpr` for a function. Its size N is the number of arithmetic
operations and elementary functions on real numbers in it, one for each entry of an array:

- an entrywise operation counts one for each entry of its result, comparisons and selections too;
- an entry of a matrix product that sums K products counts K multiplications and K - 1 additions;
- a sum (product, maximum) counts the number of its inputs minus the number of its results;
- moving numbers (reshape, slice, transpose, pad, cast, ...) is wiring and counts nothing; nor does
  arithmetic on integers and truth values alone, with which JAX computes addresses;
- an operation that no result depends on is not part of the circuit.
"""

from collections.abc import Callable, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, Var


def circuit_size(f: Callable[..., Any], *args: Any) -> int:
    """The size N of f as a circuit (Theorem 3.1): the operations that f(*args) takes.

    For the squared error of a network (2.12) that is 2 sum_k m_k m_{k-1} + sum_{k<r} m_k + 3 m_r.
    The twin `jax.jit(f).lower(*args).compile().cost_analysis()["flops"]` counts the operations of
    XLA's program: 2 K for a sum of K products, the body of a loop once, and exp and similar
    functions under another key.

    Args:
        f: a function that JAX can trace; it is traced and not run. Nested calls are counted, and
            the body of `jax.lax.scan` counts once for each iteration.
        *args: its arguments, pytrees of arrays or of `jax.ShapeDtypeStruct`: only shapes and dtypes
            matter.

    Raises:
        TypeError: for an f that cannot be called, or an argument that is not an array.
        ValueError: for a primitive whose operations are not known, such as a sort, or a loop or
            branch that depends on data.

    >>> circuit_size(lambda w, x, b: jax.nn.relu(w @ x + b), jnp.ones(3), jnp.ones(3), 1.0)
    7
    """
    check_traceable(f, args)
    circuit = jax.make_jaxpr(f)(*args).jaxpr
    return _size(circuit, [True] * len(circuit.outvars))[0]


def check_traceable(f: object, args: object) -> None:
    """Raise TypeError unless f is a function and every leaf of `args` an array or a number."""
    if not callable(f):
        raise TypeError(f"f must be a function, got {type(f).__name__}")
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, (bool, int, float, complex)):
            raise TypeError(
                f"args{jax.tree_util.keystr(path)} must be an array or a number, "
                f"got {type(leaf).__name__}"
            )


CALLS = MappingProxyType(
    {
        "jit": "jaxpr",
        "remat2": "jaxpr",
        "custom_jvp_call": "call_jaxpr",
        "custom_vjp_call": "call_jaxpr",
    }
)
"""The primitives that call another circuit, and the parameter that holds it."""


def called(eqn: JaxprEqn) -> tuple[Jaxpr, Sequence[Any]]:
    """The circuit that an equation of `CALLS` calls, and the values of its constants."""
    inner = eqn.params[CALLS[eqn.primitive.name]]
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def _size(circuit: Jaxpr, wanted: Sequence[bool]) -> tuple[int, list[bool]]:
    """The number of operations for the wanted outputs, and the inputs that those depend on."""
    used = {v for v, want in zip(circuit.outvars, wanted, strict=True) if want and _is_var(v)}
    size = 0
    for eqn in reversed(circuit.eqns):
        outputs = [v in used for v in eqn.outvars]
        if any(outputs):
            operations, inputs = _size_of_equation(eqn, outputs)
            size += operations
            used.update(v for v, use in zip(eqn.invars, inputs, strict=True) if use and _is_var(v))
    return size, [v in used for v in circuit.invars]


def _size_of_equation(eqn: JaxprEqn, wanted: Sequence[bool]) -> tuple[int, list[bool]]:
    name = eqn.primitive.name
    everything = [True] * len(eqn.invars)
    if name in CALLS:
        return _size(called(eqn)[0], wanted)
    if name == "scan":
        body = eqn.params["jaxpr"].jaxpr
        turn, _ = _size(body, [True] * len(body.outvars))
        return eqn.params["length"] * turn, everything
    if name in SIZES:
        return SIZES[name](eqn), everything
    raise ValueError(
        f"the size of the primitive {name!r} is not known; known are {', '.join(sorted(SIZES))}, "
        f"scan, and the calls {', '.join(CALLS)}"
    )


def _is_var(atom: object) -> bool:
    return isinstance(atom, Var)


def aval(atom: Any) -> jax.core.ShapedArray:
    """The shape and dtype of a value in a circuit, JAX's abstract value."""
    return atom.aval


def _wiring(eqn: JaxprEqn) -> int:
    return 0


def _one_per_entry(eqn: JaxprEqn) -> int:
    values = [aval(atom) for atom in (*eqn.invars, *eqn.outvars)]
    real = any(jnp.issubdtype(value.dtype, jnp.inexact) for value in values)
    return values[-1].size if real else 0


def _reduction(eqn: JaxprEqn) -> int:
    return max(0, aval(eqn.invars[0]).size - aval(eqn.outvars[0]).size)


def _product(eqn: JaxprEqn) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    K = prod(aval(eqn.invars[0]).shape[axis] for axis in contracted)
    return aval(eqn.outvars[0]).size * max(0, 2 * K - 1)


def _updates(eqn: JaxprEqn) -> int:
    return aval(eqn.invars[2]).size


_WIRING = """broadcast_in_dim concatenate convert_element_type copy dynamic_slice
    dynamic_update_slice gather iota pad reshape rev scatter slice split squeeze stack
    stop_gradient transpose unstack"""
_ENTRYWISE = """abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp cos cosh
    div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le lgamma log log1p
    logistic lt max min mul ne neg not or pow rem round rsqrt select_n sign sin sinh sqrt square
    sub tan tanh xor"""
_REDUCTIONS = "argmax argmin reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum"

SIZES = MappingProxyType(
    {
        **dict.fromkeys(_WIRING.split(), _wiring),
        **dict.fromkeys(_ENTRYWISE.split(), _one_per_entry),
        **dict.fromkeys(_REDUCTIONS.split(), _reduction),
        "dot_general": _product,
        "scatter-add": _updates,
    }
)
"""The number of operations of each primitive, as a function of its equation."""
