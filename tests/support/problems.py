"""Random problems for the tests of the core, and comparisons relative to each array's norm.

Tests that take the package as the fixture `fc` also run on wrong versions of it, in
`test_source_mutants.py`.
"""

from collections.abc import Callable
from functools import partial, wraps
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from fcnet import ACTIVATIONS, LOSSES, Activation, Layer, Loss, Params
from fcnet.keys import as_numpy

TOLERANCE = {"float64": 1e-13, "float32": 1e-5}  # of each array's own norm


class Case(NamedTuple):
    """A network, its data and its choices. By default all sizes differ, so a transpose shows."""

    sizes: tuple[int, ...] = (5, 4, 3, 2)
    n: int = 7
    activation: str = "relu"
    output_activation: str = "identity"
    loss: str = "squared_error"
    seed: int = 0

    @property
    def choices(self) -> Any:
        return {
            "activation": self.activation,
            "output_activation": self.output_activation,
            "loss": self.loss,
        }


def problem(case: Case, dtype: Any = float) -> tuple[Params, Array, Array]:
    """Parameters, X and Y, of JAX's own dtype unless given; float32 holds the entries exactly.

    Every loss accepts the targets.

    A target is a distribution over the outputs; only the softmax refuses those of a single output.
    """
    rng = np.random.default_rng(case.seed)

    def array(values: np.ndarray) -> Array:
        return jnp.asarray(values.astype(np.float32), dtype)

    layers = tuple(
        Layer(
            W=array(rng.normal(size=(m, m_below)) / np.sqrt(m_below)),
            b=array(rng.normal(size=m) / 2),
        )
        for m_below, m in pairwise(case.sizes)
    )
    outputs = case.sizes[-1]
    Y = rng.dirichlet(np.ones(max(outputs, 2)), size=case.n)[:, :outputs]
    return layers, array(rng.normal(size=(case.n, case.sizes[0]))), array(Y)


def problem_in_numpy(case: Case) -> Any:
    """The problem in arrays of NumPy, so that what a test computes from them compiles nothing."""
    return jax.tree.map(np.asarray, problem(case))


def relative_errors(actual: Any, expected: Any) -> dict[str, float]:
    """By path, the norm of each array's error over the norm of the array expected there.

    Structures, shapes and dtypes must agree. Where exact zeros are expected, anything else is
    infinitely wrong.
    """
    structures = jax.tree.structure(actual), jax.tree.structure(expected)
    assert structures[0] == structures[1], f"got structure {structures[0]}, not {structures[1]}"
    errors = {}
    for (path, e), a in zip(
        jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(actual), strict=True
    ):
        name, kinds = (
            jax.tree_util.keystr(path) or "the value",
            [(v.shape, v.dtype) for v in (a, e)],
        )
        assert kinds[0] == kinds[1], f"{name}: got {kinds[0]}, not {kinds[1]}"
        difference = np.asarray(a, np.float64) - np.asarray(e, np.float64)
        error, scale = np.linalg.norm(difference), np.linalg.norm(np.asarray(e, np.float64))
        errors[name] = float(error / scale) if scale else np.inf * error if error else 0.0
    return errors


def assert_same_bits(one: Any, other: Any) -> None:
    """Equal structure, and every array or random key the same to the last bit."""
    one, other = jax.tree.map(as_numpy, (one, other))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def assert_close(actual: Any, expected: Any, tolerance: float | None = None) -> None:
    """Equal structure, shapes and dtypes, every array within `tolerance` of its own norm.

    The tolerance is that of the dtype, unless given. What is expected must not itself be near
    zero: nothing would be tested.
    """
    leaves = jax.tree.leaves(expected)
    assert max(np.linalg.norm(np.asarray(leaf, np.float64)) for leaf in leaves) > 1e-3
    limit = TOLERANCE[leaves[0].dtype.name] if tolerance is None else tolerance
    for name, error in relative_errors(actual, expected).items():
        assert error <= limit, f"{name} is off by {error:.2g} of its norm"


def in_float64(test: Any) -> Any:
    """The test in double precision, also where no fixture sees to it."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with jax.enable_x64(True):
            test(*arguments, **named)

    return run


def compiled(function: Any, *arguments: Any, **choices: Any) -> Any:
    """The call under jit: one compilation, where every operation called alone is one by itself.

    The arrays returned are NumPy's, so that what a test computes from them compiles nothing.
    """
    function = partial(function, **choices) if choices else function  # JAX knows a function again
    return jax.tree.map(as_numpy, jax.jit(function)(*arguments))


def compilations(call: Callable[[], object]) -> int:
    """How many programs a call compiles."""
    events: list[str] = []

    def listen(event: str, seconds: float, **_: Any) -> None:
        events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return sum("backend_compile" in event for event in events)


def counted_loss() -> tuple[Loss, list[None]]:
    """The squared error, and a list that is longer by one after each time that JAX traces it."""
    traces: list[None] = []

    def value(o: Array, y: Array) -> Array:
        traces.append(None)
        return jnp.sum((o - y) ** 2) / 2

    def derivative(o: Array, y: Array) -> Array:
        traces.append(None)
        return o - y

    return Loss("counted", value, derivative), traces


def any_activation(index: Array) -> Activation:
    """The row of ACTIVATIONS at a traced index, so that one compilation serves all of them."""
    rows = list(ACTIVATIONS.values())
    return Activation(
        "any",
        lambda z: lax.switch(index, [row.function for row in rows], z),
        lambda z: lax.switch(index, [row.derivative for row in rows], z),
    )


def any_loss(index: Array) -> Loss:
    """The row of LOSSES at a traced index."""
    rows = list(LOSSES.values())
    return Loss(
        "any",
        lambda o, y: lax.switch(index, [row.value for row in rows], o, y),
        lambda o, y: lax.switch(index, [row.derivative for row in rows], o, y),
    )
