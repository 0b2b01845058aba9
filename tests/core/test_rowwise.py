"""Functions of rows: the same results as for all rows at once, and few programs for all n."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import Case, assert_close, compilations, problem
from support.public_names import run_program

import fcnet
from fcnet import batch_forward, rowwise
from fcnet.rowwise import by_rows

CASE = Case(sizes=(5, 4, 3, 2), n=300)


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 64, 65, 200])
@pytest.mark.parametrize("as_given", [np.asarray, jnp.asarray])
def test_rows_are_those_of_forward(n: int, as_given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowwise, "AT_ONCE", 32)
    params, X, _ = problem(CASE)
    o = batch_forward(params, as_given(X[:n]), activation="tanh", output_activation="sigmoid")
    one = partial(fcnet.forward, params, activation="tanh", output_activation="sigmoid")
    assert (o.shape, o.dtype) == ((n, 2), X.dtype)
    assert isinstance(o, jax.Array)
    assert_close(o, jax.vmap(one)(X[:n]))


def test_no_rows_have_no_outputs() -> None:
    params, X, _ = problem(CASE)
    assert batch_forward(params, X[:0]).shape == (0, 2)


def test_many_numbers_of_rows_need_few_programs() -> None:
    params, X, _ = problem(CASE)
    numbers = range(129, 300, 10)
    rows = [np.asarray(X)[:n] for n in numbers]
    assert compilations(lambda: [batch_forward(params, part) for part in rows]) <= 2
    assert compilations(lambda: [batch_forward(params, part) for part in rows]) == 0
    at_once = jax.jit(jax.vmap(fcnet.forward, in_axes=(None, 0)))
    assert compilations(lambda: [at_once(params, part) for part in rows]) == len(rows)


def test_copies_are_of_the_rows_themselves() -> None:
    """So a function that is not finite at 0, where JAX would stop, is not asked about 0."""
    seen: list[Any] = []
    by_rows(lambda rows: seen.append(np.asarray(rows)) or rows, np.full((5, 2), 3.0))
    assert seen[0].tolist() == [[3.0, 3.0]] * 8


def test_it_can_be_part_of_a_program() -> None:
    params, X, _ = problem(CASE)
    X = X[:5]
    o = batch_forward(params, X)
    assert_close(jax.jit(batch_forward)(params, X), o)
    assert_close(jax.vmap(lambda x: batch_forward(params, x[None])[0])(X), o)
    gradient = jax.grad(lambda params: batch_forward(params, X).sum())(params)
    assert_close(gradient, jax.grad(lambda p: jax.vmap(partial(fcnet.forward, p))(X).sum())(params))


PLACES = """
import jax, numpy as np, fcnet
from jax.sharding import NamedSharding, SingleDeviceSharding

mesh = jax.make_mesh((2,), ("data",))
split, whole = (NamedSharding(mesh, jax.P(*names)) for names in (("data",), ()))
one = SingleDeviceSharding(jax.devices()[1])
start = fcnet.init(jax.random.key(0), (3, 2))
for params, X in ((None, split), (whole, None), (one, None), (None, one)):
    for n in (6, 8):
        rows = np.ones((n, 3), np.float32)
        given = [part if at is None else jax.device_put(part, at)
                 for part, at in ((start, params), (rows, X))]
        assert fcnet.batch_forward(*given).devices() == (X or params).device_set, (params, X, n)
        many = jax.tree.map(lambda leaf: leaf[None], given[0])
        assert fcnet.ensemble(many, given[1]).mean.devices() == (X or params).device_set
"""


def test_outputs_are_on_the_devices_that_were_chosen() -> None:
    done = run_program(PLACES, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert not done.returncode, done.stderr
