"""In which arithmetic a run is done, and that nothing outside it changes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet
from fcnet.losses import as_objective
from fcnet.train.fit import fit
from fcnet.train.objective import batch_gradient
from fcnet.train.optimizer import OPTIMIZERS, build
from fcnet.train.precision import PRECISIONS, as_precision
from fcnet.train.types import Data, Program

RATE = {"learning_rate": 0.05}


@pytest.fixture
def problem(key):
    rng = np.random.default_rng(2)
    layers = tuple(
        (np.asarray(W, float), np.asarray(b, float)) for W, b in fcnet.init(key, (4, 5, 1))
    )
    X = rng.normal(size=(23, 4))
    return layers, X, np.abs(X[:, :1]) - X[:, 1:2]


@pytest.fixture
def run(problem, key):
    return partial(fit, *problem, key=key, steps=50, sampling="full",
                   optimizer="sgd", hyperparameters=RATE)  # fmt: skip


def in_numpy(layers, X, Y, steps):
    """Gradient descent on a network of two layers, by hand, in float64."""
    (W1, b1), (W2, b2) = layers
    for _ in range(steps):
        z = X @ W1.T + b1
        a = np.maximum(z, 0)
        d2 = (a @ W2.T + b2 - Y) / len(X)
        d1 = (d2 @ W2) * (z >= 0)
        W2, b2 = W2 - 0.05 * d2.T @ a, b2 - 0.05 * d2.sum(0)
        W1, b1 = W1 - 0.05 * d1.T @ X, b1 - 0.05 * d1.sum(0)
    return (W1, b1), (W2, b2)


def error(params, expected):
    return max(
        np.linalg.norm(np.asarray(one, float) - other) / np.linalg.norm(other)
        for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True)
    )


def test_float64_is_double_precision_with_the_flag_off(run, problem):
    assert not jax.config.jax_enable_x64
    expected = in_numpy(*problem, steps=50)
    double = run(precision="float64")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(double.params)} == {"float64"}
    assert error(double.params, expected) < 1e-13
    assert 1e-9 < error(run(precision="float32").params, expected) < 1e-5
    assert not jax.config.jax_enable_x64
    assert jnp.ones(3).dtype == jnp.float32


def test_float64_keeps_the_digits_of_its_input(problem, key):
    layers, X, Y = problem
    run = partial(
        fit, layers, key=key, batch_size=4, steps=1, optimizer="sgd", hyperparameters=RATE
    )
    same = [run(X + shift, Y, precision="float64").params[0].b for shift in (0, 1e-12)]
    assert (np.asarray(same[0]) != np.asarray(same[1])).any()
    singly = [run(X + shift, Y, precision="float32").params[0].b for shift in (0, 1e-12)]
    np.testing.assert_array_equal(*singly)


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(name, marks=[] if name in ("sgd", "adam") else pytest.mark.slow)
        for name in OPTIMIZERS
    ],
)
@pytest.mark.parametrize("precision", [None, *PRECISIONS])
def test_every_optimizer_in_every_precision(problem, key, optimizer, precision):
    layers, X, Y = problem
    result = fit(layers, X, Y, key=key, batch_size=6, steps=30, precision=precision,
                 optimizer=optimizer, hyperparameters={"learning_rate": 0.01})  # fmt: skip
    dtype = "float64" if precision == "float64" else "float32"
    assert {leaf.dtype.name for leaf in jax.tree.leaves(result.params)} == {dtype}
    assert result.history.loss[-1] < result.history.loss[0]


@pytest.mark.usefixtures("x64")
def test_parameters_too_large_for_the_precision_of_the_run_are_refused(problem, key):
    (_, b), second = fcnet.init(key, (4, 5, 1))
    params = (fcnet.Layer(jnp.full((5, 4), 1e300), b), second)
    with pytest.raises(ValueError, match=r"params\[0\]\.W must be finite"):
        fit(params, *problem[1:], key=key, steps=1, precision="float32")


@pytest.mark.usefixtures("x64")
def test_where_the_flag_is_on_the_parameters_say(problem, run):
    assert run().params[0].W.dtype == jnp.float64
    assert run(precision="float32").params[0].W.dtype == jnp.float32
    singles = jax.tree.map(jnp.float32, problem[0])
    assert run.func(singles, *run.args[1:], **run.keywords).params[0].W.dtype == jnp.float32


@pytest.mark.parametrize(
    ("precision", "factors", "exactness"),
    [
        (None, "float32", "HIGHEST"),
        ("float64", "float64", "HIGHEST"),
        ("float32", "float32", "HIGHEST"),
        ("tensorfloat32", "float32", "HIGH"),
        ("bfloat16", "bfloat16", "HIGHEST"),
    ],
)
def test_the_precision_of_every_product_is_written_down(precision, factors, exactness):
    row = as_precision(precision)
    objective = as_objective("relu", "identity", "squared_error")
    sgd = build(OPTIMIZERS["sgd"], RATE)
    gradient = partial(batch_gradient, Program(objective, fcnet.batch_backprop, row.compute, sgd))
    with row.scope():
        params = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, row.dtype), fcnet.init(jax.random.key(0), (4, 5, 1))
        )
        ones = [jnp.ones(shape, row.dtype) for shape in ((3, 4), (3, 1))]
        traced = jax.make_jaxpr(gradient)(params, Data(*ones, None))
    products = [e for e in equations(traced.jaxpr) if e.primitive.name == "dot_general"]
    assert len(products) == 5  # two forward, one of the deltas, two of the gradient
    assert {str(product.params["precision"][0]) for product in products} == {exactness}
    assert {v.aval.dtype.name for product in products for v in product.invars} == {factors}
    assert jax.config.jax_default_matmul_precision is None


def test_double_precision_of_the_caller_reaches_what_loads_the_data(key, tmp_path, x64):
    X, Y = np.random.default_rng(0).normal(size=(2, 40, 1))
    file = np.memmap(tmp_path / "X", np.float64, "w+", shape=X.shape)
    file[:] = X
    start = ((np.zeros((1, 1)), np.zeros(1)),)
    train = partial(
        fit, start, key=key, batch_size=4, steps=20, optimizer="sgd", hyperparameters=RATE
    )
    resident, mapped = (train(data, Y).params[0].W for data in (X, file))
    assert resident.dtype == np.float64
    np.testing.assert_array_equal(mapped, resident)


def test_bfloat16_is_rounded_but_small_updates_are_not_lost(problem, run, key):
    exact = in_numpy(*problem, steps=50)
    assert 1e-4 < error(run(precision="bfloat16").params, exact) < 5e-2

    one = ((np.ones((1, 1), np.float32), np.zeros(1, np.float32)),)
    slope = fcnet.Loss("slope", lambda o, y: o.sum(), lambda o, y: jnp.ones_like(o))
    data = {"X": np.ones((4, 1)), "Y": np.ones((4, 1)), "batch_size": 2, "steps": 10}
    small = partial(fit, **data, key=key, loss=slope, optimizer="sgd",
                    hyperparameters={"learning_rate": 1e-4})  # fmt: skip
    mixed = small(one, precision="bfloat16").params[0].W
    np.testing.assert_allclose(mixed, [[0.999]], rtol=1e-6)
    lost = small(jax.tree.map(lambda leaf: jnp.asarray(leaf, "bfloat16"), one)).params[0].W
    assert lost.dtype == jnp.bfloat16
    assert float(lost[0, 0]) == 1


def equations(jaxpr):
    """The equations of a program and of all programs within."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from equations(getattr(inner, "jaxpr", inner))
