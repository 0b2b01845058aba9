"""Checks of arguments, before anything is traced.

Shapes and dtypes are always checked. Values can be checked only where they are known: inside
`jax.jit`, `jax.vmap` or `jax.grad` an array has none yet, so the check of its values is left out.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.typing import ArrayLike, DTypeLike

from fcnet.forks import check_process
from fcnet.trees import leaves
from fcnet.types import Layer, Params, Trace


def as_array(name: str, value: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """`value` as a JAX array of real numbers, cast to `dtype` where one is given.

    A float too large for the dtype becomes infinite, for `check_finite` to find; an integer too
    large for JAX's own would wrap around, and raises.
    """
    return as_jax(_as_real(name, value, dtype))


def _as_real(name: str, value: ArrayLike, dtype: DTypeLike | None) -> Array | np.ndarray:
    """`as_array`, but what is no JAX array yet stays in NumPy."""
    if isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be an array, got a {type(value).__name__}; use jnp.asarray")
    try:
        array = value if isinstance(value, Array) else np.asarray(value)
        kind = array.dtype
    except (TypeError, ValueError, RuntimeError) as error:  # the last for a tensor with a gradient
        raise TypeError(f"{name} must be an array, got {type(value).__name__}: {error}") from error
    check_unmasked(name, value)
    if not is_real(kind) or kind.itemsize > 8:
        fix = _fix_of(name, value, array)
        raise TypeError(f"{name} must hold real numbers of at most 64 bits, got dtype {kind}{fix}")
    if isinstance(array, Array):
        return jnp.asarray(array, dtype)
    with np.errstate(over="ignore"):
        wanted = jax.dtypes.canonicalize_dtype(kind if dtype is None else dtype)
        cast = array.astype(wanted.newbyteorder("="))
    if dtype is None and jnp.issubdtype(kind, jnp.integer) and (cast != array).any():
        raise ValueError(
            f"{name} must fit {cast.dtype}, got integers up to {abs(array).max()}; "
            "cast with .astype(float)"
        )
    return cast


def _fix_of(name: str, value: Any, array: Any) -> str:
    """What to do about an array that holds no real numbers, where something helps.

    A data frame whose columns have several dtypes is an array of objects.
    """
    if hasattr(value, "toarray"):
        return f"; write {name}.toarray(), since it is sparse"
    kind = getattr(array.dtype, "kind", "")  # the dtype of JAX's keys has none
    if not array.ndim or kind not in tuple("bOUS"):
        return ""
    for where, entry in np.ndenumerate(array):
        try:
            float(entry)
        except (TypeError, ValueError):
            return f"; {entry!r:.60} at index {where} is no number"
    return f"; write {_in_numpy(name, value)}.astype(float)"


def _in_numpy(name: str, value: Any) -> str:
    """How an array is written that has NumPy's methods: those of other libraries have their own.

    >>> _in_numpy("Y", np.ones(2)), _in_numpy("Y", memoryview(b"a"))
    ('Y', 'np.asarray(Y)')
    """
    return name if isinstance(value, (np.ndarray, Array)) else f"np.asarray({name})"


def is_real(dtype: np.dtype) -> bool:
    """Whether a dtype is of floating or of whole numbers; to NumPy, a timedelta is one too.

    >>> is_real(np.dtype("m8[s]")), is_real(jnp.dtype("bfloat16"))
    (False, True)
    """
    is_number = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    return is_number and dtype.kind != "m"


def check_unmasked(name: str, value: object) -> None:
    """Raise for masked entries of NumPy's, which `np.asarray` would take for known ones."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries: remove or impute them first")


def as_jax(array: Array | np.ndarray) -> Array:
    """An array of NumPy's, which nobody writes to any more, as JAX's; others as they are.

    `jnp.asarray` would compile a program for each shape.
    """
    check_process()
    return array if isinstance(array, Array) else jax.device_put(array)


def as_auto(array: Any) -> Any:
    """An array that is split explicitly over devices, with the same parts, split by XLA.

    Explicit axes are in the type of an array, and only programs that name them can compute with it.
    Other arrays, and all that is none, are returned as they are. Nothing is copied.

    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    >>> array = jax.device_put(np.ones(2), NamedSharding(mesh, jax.P("data")))
    >>> jax.typeof(array).sharding.spec[0], jax.typeof(as_auto(array)).sharding.spec[0]
    ('data', None)
    """
    if not isinstance(array, Array) or isinstance(array, jax.core.Tracer):
        return array
    where = array.sharding
    if not isinstance(where, NamedSharding) or AxisType.Explicit not in where.mesh.axis_types:
        return array
    mesh = Mesh(where.mesh.devices, where.mesh.axis_names)
    return jax.device_put(array, NamedSharding(mesh, where.spec))


def on_host(array: Any) -> Any:
    """An array of JAX's in NumPy, where it has values and they lie on a CPU; others as they are.

    What is computed in NumPy need not be compiled.
    """
    known = isinstance(array, Array) and not isinstance(array, jax.core.Tracer)
    if not known or not array.is_fully_addressable:
        return array
    return np.asarray(array) if {d.platform for d in array.devices()} == {"cpu"} else array


def reraise(error: Exception, message: str) -> NoReturn:
    """Raise a TypeError for a TypeError, and a ValueError for any other error, with a new message.

    Some errors of JAX derive from these, and cannot be made of a message.
    """
    kind = TypeError if isinstance(error, TypeError) else ValueError
    raise kind(message) from error


def fails(array: Array | np.ndarray, predicate: Callable[[Any], Any]) -> bool:
    """Whether a known value fails `predicate`; while JAX traces through it, a value is unknown."""
    if isinstance(array, jax.core.Tracer):
        return False
    with jax.ensure_compile_time_eval():
        accepted = predicate(on_host(array))
        all_of = jnp.all if isinstance(accepted, Array) else np.all
        return not bool(all_of(accepted))


def check_finite(name: str, array: Array | np.ndarray) -> None:
    """Raise unless every known value is finite, and say where the first bad one is."""
    if fails(array, _is_finite):
        values = np.asarray(array)
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        at = f" at index {where}; remove, impute or rescale such entries first" if where else ""
        raise ValueError(f"{name} must be finite, got {values[where]}{at}")


def _is_finite(array: Any) -> Any:
    """Whether all entries are finite."""
    if isinstance(array, Array):
        return _is_finite_on_device(array)
    with np.errstate(all="ignore"):
        # A sum is finite only if all its terms are, and takes a fraction of the time, no memory.
        return np.isfinite(array.sum()) or np.isfinite(array).all()


@jax.jit
def _is_finite_on_device(array: Array) -> Array:
    return jnp.isfinite(array).all()


def check_shape(name: str, array: Array, expected: tuple[int, ...], hint: str) -> None:
    """Raise unless the shape is exactly `expected`: nothing is ever broadcast silently."""
    if array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}: {hint}")


def described(tree: Any) -> str:
    """A tree of arrays in words, with the dtype and the shape of each array in its place.

    >>> described([(jnp.ones((2, 3)), jnp.ones(2, int)), None])
    '[(float32[2, 3], int32[2]), None]'
    """

    def one(leaf: Any) -> str:
        return f"{getattr(leaf, 'dtype', type(leaf).__name__)}{list(np.shape(leaf))}"

    return str(jax.tree.map(one, tree)).replace("'", "")


def mismatch(tree: Any, expected: Any) -> str:
    """Where a tree of arrays differs from the expected one, in words; empty where it does not.

    The structures are compared, and the shape and the dtype of each array.

    >>> mismatch({"b": jnp.ones(2)}, {"b": jnp.ones(3)})
    "['b'] is float32[2], expected float32[3]"
    >>> mismatch([jnp.ones(2)], (jnp.ones(2),))
    'it is [float32[2]], expected (float32[2],)'
    """
    structure: Any = jax.tree.structure(expected)
    if structure != jax.tree.structure(tree):
        return f"it is {described(tree)}, expected {described(expected)}"
    leaves = jax.tree.leaves_with_path(tree)
    for (path, got), wanted in zip(leaves, jax.tree.leaves(expected), strict=True):
        if described(got) != described(wanted):
            name = jax.tree_util.keystr(path) or "it"
            return f"{name} is {described(got)}, expected {described(wanted)}"
    return ""


def as_floating(name: str, dtype: DTypeLike | None) -> np.dtype:
    """A floating dtype as JAX will use it: its own by default, float32 unless x64 is enabled."""
    try:
        canonical = jax.dtypes.canonicalize_dtype(float if dtype is None else dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a floating dtype, got {dtype!r}") from error
    if not jnp.issubdtype(canonical, jnp.floating) or not 2 <= canonical.itemsize <= 8:
        raise TypeError(f"{name} must be floating, of 16 to 64 bits, got {canonical}")
    return canonical


def as_trace(trace: object) -> Trace:
    """What `forward_trace` returned for one example: a^[0..r] and z^[1..r], all of them vectors."""
    if not isinstance(trace, Trace):
        raise TypeError(f"trace must come from forward_trace, got {type(trace).__name__}")
    z = as_vectors("trace.z", trace.z)
    a = as_vectors("trace.a", trace.a)
    check_widths("trace.a[1:]", a[1:], [v.shape for v in z], "a^[k] is sigma(z^[k])")
    return Trace(a, z)


def as_vectors(name: str, values: object) -> tuple[Array, ...]:
    """A non-empty tuple of vectors, such as the deltas of the layers 1..r."""
    if not isinstance(values, (tuple, list)) or not values:
        raise TypeError(f"{name} must be a non-empty tuple of vectors, got {values!r:.60}")
    vectors = tuple(as_array(f"{name}[{k}]", value) for k, value in enumerate(values))
    for k, vector in enumerate(vectors):
        if vector.ndim != 1:
            raise ValueError(f"{name}[{k}] has shape {vector.shape}, expected one example's vector")
    return vectors


def check_widths(
    name: str, vectors: Sequence[Array], expected: Sequence[tuple[int, ...]], hint: str
) -> None:
    """Raise unless there are as many vectors as `expected` has shapes, and of these shapes."""
    shapes = [vector.shape for vector in vectors]
    if shapes != list(expected):
        raise ValueError(f"{name} has shapes {shapes}, expected {list(expected)}: {hint}")


def as_params(params: object) -> Params:
    """Parameters as a tuple of layers whose shapes chain, all of one floating dtype."""
    if not isinstance(params, Sequence) or isinstance(params, (str, bytes)) or not len(params):
        raise TypeError(
            "params must be a non-empty sequence of pairs (W, b), as fcnet.init(key, sizes) "
            f"returns, got {type(params).__name__}"
        )
    layers: list[Layer] = []
    for k, pair in enumerate(params):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"params[{k}] must be a pair (W, b), got {type(pair).__name__}")
        W, b = (
            as_array(f"params[{k}].{name}", leaf) for name, leaf in zip("Wb", pair, strict=True)
        )
        for name, leaf in (("W", W), ("b", b)):
            if not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype.itemsize < 2:
                raise TypeError(
                    f"params[{k}].{name} must be floating, of 16 to 64 bits, got {leaf.dtype}: "
                    "integers have no gradient; cast with .astype(float)"
                )
            first = layers[0].W.dtype if layers else W.dtype
            if leaf.dtype != first:
                raise TypeError(
                    f"params[{k}].{name} is {leaf.dtype} but params[0].W is {first}: "
                    "all parameters must have one dtype"
                )
        if W.ndim != 2:
            raise ValueError(f"params[{k}].W has shape {W.shape}, expected (m_k, m_{{k-1}})")
        if layers and W.shape[1] != layers[-1].W.shape[0]:
            raise ValueError(
                f"params[{k}].W has shape {W.shape}, but the layer below has "
                f"{layers[-1].W.shape[0]} units: expected ({W.shape[0]}, {layers[-1].W.shape[0]})"
            )
        check_shape(f"params[{k}].b", b, W.shape[:1], "one bias for each row of W")
        layers.append(Layer(W, b))
    return tuple(layers)


def as_example(name: str, value: ArrayLike, width: int, dtype: DTypeLike) -> Array:
    """One example x, or one target y, of shape (width,): finite, in the parameters' dtype."""
    array = as_array(name, value, dtype)
    check_shape(
        name, array, (width,), "this function takes one example; jax.vmap it over the rows of many"
    )
    check_finite(name, array)
    return array


def as_examples(name: str, value: ArrayLike, width: int, dtype: DTypeLike, hint: str = "") -> Array:
    """Examples as the rows of a matrix of shape (n, width): finite, in `dtype`."""
    array = _as_real(name, value, dtype)
    if array.ndim != 2 or array.shape[1] != width:
        column = f"; write {_in_numpy(name, value)}[:, None]"
        fix = column if array.ndim == 1 and width == 1 else hint
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n, {width}), one example in each row{fix}"
        )
    check_finite(name, array)
    return as_jax(array)


def check_same_length(X: Array, Y: Array) -> int:
    """The number n >= 1 of examples, the same in X and in Y."""
    if X.ndim < 1 or Y.ndim < 1:
        raise ValueError(
            f"X has shape {X.shape} and Y has shape {Y.shape}, expected n examples along axis 0"
        )
    if X.shape[0] != Y.shape[0]:
        raise ValueError(
            f"X has {X.shape[0]} examples but Y has {Y.shape[0]}: expected one target each"
        )
    if not X.shape[0]:
        raise ValueError("X has no examples: expected n >= 1")
    return X.shape[0]


def check_type(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise TypeError unless a value is of a type, or of one of several; `expected` names them."""
    if not isinstance(value, kind):
        got = " ".join(repr(value).split())  # in one line
        raise TypeError(f"{name} must be {expected}, got {got:.60}")


def as_count(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number between `least` and `most`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < least or (most is not None and count > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ValueError(f"{name} must be {limits}, got {count}")
    return count


def as_positive(name: str, value: ArrayLike) -> Array:
    """A positive finite number, such as a learning rate."""
    array = as_array(name, value)
    check_shape(name, array, (), "a single number")
    if fails(array, lambda value: (value > 0) & (value < jnp.inf)):
        raise ValueError(f"{name} must be positive and finite, got {float(array)}")
    return array


def check_untraced(name: str, trees: Any, *arrays: Any) -> None:
    """Raise while JAX traces a program, or where an argument has no values because it does."""
    new = jax.device_put(0)  # a tracer within jax.jit, even where all arguments are constants
    values = [*(leaf for _, leaf in leaves(trees)), *arrays, new]
    if any(isinstance(value, jax.core.Tracer) for value in values):
        raise TypeError(
            f"{name} runs programs of its own, and cannot be part of one: call it outside jax.jit, "
            "vmap, grad and scan. fcnet.sweep trains several networks at once, and JAX can trace "
            "fcnet.minibatch_sgd"
        )


def check_key(key: Any) -> None:
    """Raise unless `key` is a single random key, of the new kind or the old."""
    check_process()
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if str(jax.random.key_impl(key)) == "unsafe_rbg":
            raise ValueError(
                "key is of 'unsafe_rbg', whose draws depend on each other: use jax.random.key(seed)"
            )
        if shape == ():
            return
        raise ValueError(f"key must be a single key, got an array of keys of shape {shape}")
    if dtype == jnp.uint32 and shape == (2,):
        return
    raise TypeError(f"key must come from jax.random.key(seed), got {type(key).__name__}")
