"""Malformed values of each argument of the public functions, as strategies for hypothesis.

They replace an argument of `public_calls.good_calls`: layer sizes (3, 2, 2), 4 examples in X and Y.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

import fcnet
from fcnet import ACTIVATIONS, LOSSES, Activation, Loss, Trace
from fcnet.train.objective import GRADIENTS
from fcnet.train.optimizer import OPTIMIZERS
from fcnet.train.precision import PRECISIONS
from fcnet.train.sampling import SAMPLINGS
from support.public_calls import good_calls

good = cache(good_calls)
Bad = st.SearchStrategy[Any]


def one_of(*values: Any) -> Bad:
    return st.sampled_from(values)


TWO = [1.0, 2.0]
NOTHING_OF_USE = one_of(
    *("", "abc", b"abc", 1j, object(), range(0), {"W": 1.0}, {1.0, 2.0}),
    *([], TWO, (1.0, "a"), [[1.0], [2.0, 3.0]], np.random.default_rng(0)),
    *(np.array(["a", "b"]), np.array([None]), np.array([1j, 2.0]), np.array([True, False])),
    *(np.array("2020", "datetime64"), np.ones(2, np.longdouble)),
)
JUNK = NOTHING_OF_USE | st.none()
NOT_FINITE = one_of(np.nan, np.inf, -np.inf, 1e300)
NOT_WHOLE = JUNK | st.floats() | st.booleans() | st.text(max_size=3).filter("log".__ne__)


def array_of_shape(wrong: Any) -> Bad:
    """An array of ones whose shape is wrong."""
    return st.lists(st.integers(0, 5), max_size=3).map(tuple).filter(wrong).map(np.ones)


@st.composite
def with_one_entry(draw: Any, shape: tuple[int, ...], values: Bad) -> Any:
    """A valid array except for one entry."""
    array = np.full(shape, 0.5)
    array[draw(st.tuples(*(st.integers(0, m - 1) for m in shape)))] = draw(values)
    return array


def data(*shape: int) -> Bad:
    wrong_shape = array_of_shape(lambda other: other != shape)
    return JUNK | wrong_shape | with_one_entry(shape, NOT_FINITE)


def targets(*shape: int) -> Bad:
    outside = st.floats(1.001, 1e30) | st.floats(-1e30, -0.001)
    return data(*shape) | with_one_entry(shape, outside)


@st.composite
def broken_params(draw: Any) -> Any:
    """Layers of which one array, or one pair, is malformed."""
    layers = [list(layer) for layer in good()["forward"]["params"]]
    k, i = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    if draw(st.integers(0, 4)) == 0:
        no_pairs = one_of(layers[k][:1], [*layers[k], None], dict(enumerate(layers[k])))
        layers[k] = draw(JUNK | no_pairs)
        return layers
    rows = layers[k][i].shape[0]
    layers[k][i] = draw(
        JUNK
        | array_of_shape(lambda shape: len(shape) != 2 - i or shape[0] != rows)
        | one_of(np.ones(layers[k][i].shape, int), np.ones(layers[k][i].shape, np.float16))
    )
    return tuple(map(tuple, layers))


@st.composite
def params_with_one_bad_number(draw: Any) -> Any:
    (W, b), *above = good()["forward"]["params"]
    return ((jnp.asarray(draw(with_one_entry(W.shape, one_of(np.nan, np.inf)))), b), *above)


@st.composite
def broken_trace(draw: Any) -> Any:
    a, z = good()["deltas"]["trace"]
    other = draw(array_of_shape(lambda shape: shape != (2,)))
    return draw(
        one_of(
            *(Trace((), ()), Trace("a", "b"), Trace(a[1:], z), Trace(a, z[:1]), (a, z)),
            *(Trace((a[0], other, a[2]), z), Trace(a, (other, z[1])), Trace(a, None)),
            *(Trace((*a, a[2]), (*z, z[1])), Trace((a[0], None, a[2]), z)),
        )
    )


@st.composite
def broken_sizes(draw: Any) -> Any:
    sizes: list[Any] = [3, 2, 2]
    no_size = st.integers(max_value=0) | st.floats() | st.booleans() | st.none() | st.text()
    sizes[draw(st.integers(0, 2))] = draw(no_size)
    return sizes


KEYS = one_of(0, 1.5, jax.random.split, np.zeros(3, np.uint32), np.zeros(2), np.zeros(2, int))
KNOWN = {*ACTIVATIONS, *LOSSES, *GRADIENTS, *SAMPLINGS, "full", *OPTIMIZERS, *PRECISIONS}
UNKNOWN = st.text().filter(lambda name: name not in KNOWN)  # Hypothesis draws texts of the source
ROWS = one_of(len, jnp.tanh, Activation("a", None, len), Loss("a", 1, 2), Activation, Loss)
NO_GRADIENT = one_of(
    *(None, 3, "backprop", {}, ACTIVATIONS["relu"]),
    *(lambda params, X, Y: params[0], lambda params, X, Y: None, lambda params, X, Y: X),
    lambda params, X, Y: jax.tree.map(lambda leaf: leaf[None], params),
    lambda params, X, Y: jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params),
)

BAD: dict[str, Bad] = {
    "params": JUNK | broken_params(),
    "x": data(3),
    "y": targets(2),
    "X": data(4, 3),
    "Y": targets(4, 2),
    "weights": NOTHING_OF_USE
    | array_of_shape(lambda shape: shape != (4,))
    | with_one_entry((4,), NOT_FINITE | st.floats(-1e30, -1e-30)),
    "trace": JUNK | broken_trace(),
    "delta": JUNK
    | one_of((), (np.ones(2),), (np.ones(2),) * 3, (np.ones((4, 2)),) * 2, (None, None))
    | array_of_shape(lambda shape: shape != (2,)).map(lambda array: (array, np.ones(2))),
    "key": JUNK | KEYS | st.integers() | st.floats(),
    "sizes": JUNK.filter(lambda junk: not isinstance(junk, bytes)) | broken_sizes(),
    "dtype": NOTHING_OF_USE
    | one_of(int, "int32", complex, bool, object, np.longdouble, 3, "S3", "datetime64[s]", len)
    | st.integers(),
    "activation": JUNK | UNKNOWN | ROWS | one_of(*LOSSES.values(), *LOSSES),
    "output_activation": JUNK | UNKNOWN | ROWS | one_of(*LOSSES.values(), *LOSSES),
    "loss": JUNK | UNKNOWN | ROWS | one_of(*ACTIVATIONS.values(), *ACTIVATIONS),
    "n": NOT_WHOLE | st.integers(max_value=0) | st.integers(2**31),
    "batch_size": NOT_WHOLE | st.integers(max_value=0) | st.integers(10),
    "learning_rate": JUNK
    | st.floats(max_value=0)
    | NOT_FINITE
    | array_of_shape(lambda shape: shape != ()),
    "steps": NOT_WHOLE | st.integers(max_value=-1) | st.integers(2**31),
    "gradient": NO_GRADIENT,
    "chunk": NOT_WHOLE.filter(lambda junk: junk is not None) | st.integers(max_value=0),
    "keep": NOTHING_OF_USE,
}

NO_NAME = st.none() | st.text() | st.integers() | st.floats()

NO_VALIDATION = one_of(
    *((), (np.ones((4, 3)),), (np.ones((4, 3)),) * 4, (np.ones((4, 3)), np.ones((3, 2)))),
    *((np.ones((4, 2)), np.ones((4, 2))), (None, None), ("X", "Y"), (np.ones((4, 3)), None)),
    *((np.full((1, 3), np.nan), np.ones((1, 2))), (np.ones((1, 3)), np.full((1, 2), 7.0))),
    (np.ones((2, 3)), np.ones((2, 2)), np.ones(3)),
)

NO_NUMBERS = one_of({"rate": 0.1}, {"learning_rate": 0.1, "b9": 1}, {1: 0.1}, 0.1)
NOT_A_NUMBER = JUNK.filter(lambda junk: junk is not TWO) | NOT_FINITE | one_of(True)


def as_learning_rate(value: Bad) -> Bad:
    return value.map(lambda junk: {"learning_rate": junk})


FIT: dict[str, Bad] = {
    "params": BAD["params"] | params_with_one_bad_number(),
    "optimizer": JUNK | UNKNOWN | one_of(len, optax.adam(0.1), lambda learning_rate: None, 3),
    "hyperparameters": NOTHING_OF_USE
    | NO_NUMBERS
    | as_learning_rate(NOT_A_NUMBER | one_of(TWO, np.ones(2), jnp.ones(1))),
    "gradient": JUNK | UNKNOWN | one_of(fcnet.backprop, len),
    "sampling": JUNK | UNKNOWN,
    "batch_size": BAD["batch_size"] | one_of(4, 5),  # a quarter of the 4 examples is held out
    "validation": NOTHING_OF_USE
    | st.booleans()
    | st.floats(max_value=0)
    | st.floats(min_value=1)
    | NO_VALIDATION,
    "evaluate_every": NOT_WHOLE.filter(lambda junk: junk is not None) | st.integers(max_value=0),
    "patience": NOT_WHOLE.filter(lambda junk: junk is not None) | st.integers(max_value=0),
    "progress": NOTHING_OF_USE,
    "opt_state": NOTHING_OF_USE | one_of(optax.sgd(0.1).init(jnp.ones(2)), optax.EmptyState()),
    "checkpoint": one_of(3, b"abc", [], {}, object(), "", np.ones(2), np.nan, True)
    | one_of(
        fcnet.Checkpoints("never", 0), fcnet.Checkpoints("never", 1, 1.5), fcnet.Checkpoints(None)
    ),
    "resume": JUNK | one_of(0, 1, True),
    "mesh": NOTHING_OF_USE
    | one_of(jax.devices(), 4, (4, 2), jax.sharding.AbstractMesh((1,), ("data",)))
    | one_of(*(jax.make_mesh((1,) * len(names), names) for names in (("x",), ("data", "batch")))),
    "precision": NOTHING_OF_USE | UNKNOWN | one_of(32, np.float32, jnp.dtype("float32")),
}

CHECK: dict[str, Bad] = {
    "backward": NOTHING_OF_USE.filter(lambda junk: not callable(junk)) | st.none(),
    "params": JUNK,
    "x": array_of_shape(lambda shape: shape not in [(3,), (1, 3), (3, 1)])
    | with_one_entry((3,), one_of(np.nan, np.inf)),
    "y": array_of_shape(  # a target or a class label, maybe with an axis of length 1, is none
        lambda shape: shape not in [(2,), (1, 2), (2, 1), (1,), (1, 1), ()]
    )
    | with_one_entry((2,), one_of(np.nan, np.inf)),
    "reduction": NO_NAME,
    "weight_layout": NO_NAME.filter(lambda name: name is not None),
    "example_axis": NO_NAME.filter(lambda name: name is not None),
    "key": BAD["key"].filter(lambda junk: junk is not None),
}

SINGLE = good_calls()["fit"]["params"]
"""A network without the axis of members, where one is needed."""


@st.composite
def broken_members(draw: Any) -> Any:
    """Members that disagree on their number, or whose layers do not fit one another."""
    layers = [list(layer) for layer in good()["sweep"]["params"]]
    k, i = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    shape = layers[k][i].shape
    wrong = {(shape[0] + 1, *shape[1:]), (0, *shape[1:]), (*shape[:1], 5, *shape[2:]), shape[:1]}
    layers[k][i] = draw(JUNK | st.sampled_from(sorted(wrong)).map(np.ones))
    return tuple(map(tuple, layers))


SWEEP: dict[str, Bad] = {
    **FIT,
    "params": JUNK | broken_params() | broken_members(),
    "key": BAD["key"] | one_of(jax.random.split(jax.random.key(0), 3)),
    "hyperparameters": NOTHING_OF_USE
    | NO_NUMBERS
    | as_learning_rate(NOT_A_NUMBER | one_of(np.ones(3), jnp.ones((2, 1)))),
}
X_ALONE = (  # of any number of rows, since nothing else tells it
    JUNK
    | array_of_shape(lambda shape: len(shape) != 2 or shape[1] != 3)
    | with_one_entry((4, 3), NOT_FINITE)
)
ENSEMBLE: dict[str, Bad] = {"params": SWEEP["params"] | one_of(SINGLE), "X": X_ALONE}
SPECIAL = {
    "batch_forward": {"X": X_ALONE},
    "fit": FIT,
    "sweep": SWEEP,
    "ensemble": ENSEMBLE,
    "check": CHECK,
}

DESCENT = {"gradient_descent", "sgd", "minibatch_sgd"}


def bad(function: str, argument: str) -> Bad:
    """The malformed values of an argument of a function."""
    special = SPECIAL.get(function, {})
    if argument in special:
        return special[argument]
    if function in DESCENT and argument == "params":
        return BAD["params"] | params_with_one_bad_number()
    if function in DESCENT and argument == "Y":
        return data(4, 2)  # the squared error takes any number
    return BAD[argument]
