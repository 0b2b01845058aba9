"""Whatever flags of JAX the caller has set, the same numbers come out.

| call | oracle |
|---|---|
| forward pass, backpropagation, fit, sweep, checks, under each flag | the numbers without it |
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.pairs import diagonal

import fcnet

pytestmark = pytest.mark.untyped

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY)
PARAMS = fcnet.init(KEY, (4, 5, 3))
MANY = jax.vmap(lambda key: fcnet.init(key, (4, 5, 3)))(KEYS)
X, Y = (jax.random.normal(key, (20, m)) for key, m in zip(KEYS, (4, 3), strict=True))
RUN = {"batch_size": 4, "steps": 8}
ROUNDINGS = 64 * float(jnp.finfo(jnp.float32).eps)
"""XLA rounds otherwise where it compiles each operation alone."""

FLAGS = {
    "strict promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "no promotion of ranks": lambda: jax.numpy_rank_promotion("raise"),
    "errors where a NaN arises": lambda: jax.debug_nans(True),
    "leaks of tracers": lambda: jax.check_tracer_leaks(True),
    "no jit": lambda: jax.disable_jit(True),
}

CALLS = {
    "forward": lambda: fcnet.forward(PARAMS, X[0]),
    "batch_backprop": lambda: fcnet.batch_backprop(PARAMS, X, Y),
    "fit": lambda: fcnet.fit(PARAMS, X, Y, key=KEY, validation=0.2, **RUN).params,
    "sweep": lambda: fcnet.sweep(MANY, X, Y, key=KEYS, **RUN).params,
    "check": lambda: report(fcnet.check(fcnet.backprop, PARAMS, X[0], Y[0])),
    "check_gradient": lambda: report(fcnet.check_gradient(jnp.cos, lambda x: jnp.sin(x).sum(), X)),
    "check_vjp": lambda: report(fcnet.check_vjp(jnp.sin, jnp.sin, X)),
}


def report(found: fcnet.Report) -> tuple[np.ndarray, ...]:
    """The errors of a right gradient."""
    assert found.verdict == "right"
    return tuple(np.array(leaf.error) for leaf in found.leaves)


@pytest.mark.parametrize(("flag", "call"), diagonal(FLAGS, CALLS))
def test_the_numbers_are_those_without_the_flag(flag, call):
    expected = jax.tree.leaves(CALLS[call]())
    with FLAGS[flag]():
        found = jax.tree.leaves(CALLS[call]())
    for one, other in zip(found, expected, strict=True):
        assert np.linalg.norm(one - other) <= ROUNDINGS * np.linalg.norm(other)


def test_strict_promotion_is_strict():
    """The control: Adam of optax, alone, fails under it."""
    adam = optax.adam(0.1)
    state = adam.init(PARAMS)
    with jax.numpy_dtype_promotion("strict"), pytest.raises(jax.dtypes.TypePromotionError):
        adam.update(PARAMS, state)
