"""How the loops may be called: what they leave alone, keep, compile and refuse."""

import operator
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.problems import Case, assert_close, problem

from fcnet import Layer, batch_backprop, gradient_descent, minibatch_sgd, sgd

CASE = Case(sizes=(3, 5, 2), n=6)
LOOPS = {
    "gradient_descent": gradient_descent,
    "sgd": partial(sgd, key=jax.random.key(1)),
    "minibatch_sgd": partial(minibatch_sgd, key=jax.random.key(1), batch_size=4),
}
every_loop = pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)


@every_loop
@pytest.mark.parametrize("kind", [jnp.array, np.array])
@pytest.mark.parametrize("steps", [0, 3])
def test_what_is_given_stays_as_it_is(loop: Any, kind: Any, steps: int) -> None:
    given = jax.tree.map(kind, problem(CASE))
    before = jax.tree.map(np.array, given)
    loop(*given, learning_rate=0.1, steps=steps)
    jax.tree.map(np.testing.assert_array_equal, given, before)


@every_loop
@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        (jnp.bfloat16, np.float32),
        (jnp.float32, np.float64),
        (jnp.float32, np.int32),
        (jnp.float64, np.float32),
    ],
)
def test_the_parameters_keep_their_dtype(loop: Any, dtype: Any, data: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        params, X, Y = problem(CASE, dtype)
        X, Y = np.asarray(X).astype(data), np.asarray(Y).astype(data)
        reached = loop(params, X, Y, learning_rate=0.1, steps=2)
        chex.assert_trees_all_equal_shapes_and_dtypes(reached, params)
        assert all((p != q).any() for p, q in zip(params[0], reached[0], strict=True))


def test_single_and_double_precision_agree(x64: None) -> None:
    params, X, Y = problem(CASE, jnp.float32)
    key = jax.random.key(5)
    common = {"key": key, "learning_rate": 0.125, "batch_size": 4, "steps": 20}
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, X, Y))
    doubled = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), minibatch_sgd(*wide, **common))
    assert_close(minibatch_sgd(params, X, Y, **common), doubled)


@every_loop
def test_the_structure_is_the_callers_own(loop: Any) -> None:
    params, X, Y = problem(CASE)
    pairs = [tuple(layer) for layer in params]
    common = {"learning_rate": 0.1, "steps": 2}
    reached = loop(pairs, X, Y, **common)
    assert jax.tree.structure(reached) == jax.tree.structure(pairs)
    assert_close(tuple(Layer(*pair) for pair in reached), loop(params, X, Y, **common))


@pytest.mark.parametrize("theta", [1.0, np.float32(1), jnp.asarray(1.0)])
def test_a_single_number_is_a_model(theta: Any) -> None:
    """Also where its dtype is weak; that of the result is not, so training on compiles nothing."""
    reached = gradient_descent(
        theta,
        np.zeros(1),
        np.zeros(1),
        learning_rate=0.25,
        steps=2,
        gradient=lambda theta, X, Y: theta,
    )
    assert reached == 0.75**2
    assert jax.typeof(reached) == jax.typeof(jnp.float32(0))


# Compilation


@pytest.mark.parametrize("name", ["gradient_descent", "minibatch_sgd"])
def test_the_gradient_is_traced_once(name: str) -> None:
    """Not again for other steps, rates, keys or values; `minibatch_sgd` traces it for B rows."""
    chex.clear_trace_counter()
    params, X, Y = problem(CASE)
    call = partial(LOOPS[name], gradient=chex.assert_max_traces(batch_backprop, 1))
    call(params, X, Y, learning_rate=0.1, steps=3)
    other = {} if name == "gradient_descent" else {"key": jax.random.key(7)}
    fewer = {} if name == "gradient_descent" else {"batch_size": 2}
    call(params, X + 1, Y, learning_rate=0.01, steps=2000, **other)
    with pytest.raises(AssertionError, match="is traced >"):
        call(params, X[:3], Y[:3], learning_rate=0.1, steps=3, **fewer)


@every_loop
def test_a_second_call_does_not_compile(loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nor for a rate of 1 in place of 1.0."""
    params, X, Y = problem(Case(sizes=(3, 4, 2), n=6))

    def compilations(*arguments: Any, **choices: Any) -> int:
        caplog.clear()
        with jax.log_compiles():
            loop(*arguments, **choices)
        return sum("_descend" in record.message for record in caplog.records)

    assert compilations(params, X, Y, learning_rate=0.1, steps=3) > 0
    assert not compilations(params, X + 1, Y, learning_rate=0.01, steps=2000)
    assert not compilations(params, X, Y, learning_rate=1, steps=0)
    assert compilations(params, X[:5], Y[:5], learning_rate=0.1, steps=3) > 0


def test_many_runs_at_once() -> None:
    """Under vmap, over keys and learning rates: the same runs as one by one."""
    params, X, Y = problem(CASE)

    def run(key: Array, rate: Any) -> Any:
        return minibatch_sgd(params, X, Y, key=key, learning_rate=rate, batch_size=4, steps=5)

    keys, rates = jax.random.split(jax.random.key(2), 3), jnp.array([0.1, 0.2, 0.3])
    together = jax.jit(jax.vmap(run))(keys, rates)
    for i in range(3):
        assert_close(jax.tree.map(operator.itemgetter(i), together), run(keys[i], rates[i]))


# Bad input


@pytest.mark.untyped
@every_loop
@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive and finite, got 0"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be positive"),
        ({"learning_rate": np.inf}, ValueError, "learning_rate must be positive and finite"),
        ({"learning_rate": np.ones(2)}, ValueError, r"learning_rate has shape \(2,\)"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must"),
        ({"steps": -1}, ValueError, "steps must be between 0 and 2147483647, got -1"),
        ({"steps": 2**31}, ValueError, "steps must be between 0 and 2147483647"),
        ({"steps": 1.5}, TypeError, "steps must be an integer, got 1.5"),
        ({"gradient": None}, TypeError, r"gradient must be a function of \(params, X, Y\)"),
        ({"gradient": lambda p, X, Y: p[0]}, ValueError, "gradient must return the structure"),
        ({"gradient": lambda p, X, Y: p[::-1]}, ValueError, "gradient must return the structure"),
        (
            {"gradient": partial(batch_backprop, loss="poisson")},
            ValueError,
            "must be counts",
        ),
    ],
)
def test_bad_choices(loop: Any, changed: Any, error: Any, match: str) -> None:
    params, X, Y = problem(CASE)
    with pytest.raises(error, match=match):
        loop(params, X, -Y, **{"learning_rate": 0.1, "steps": 1, **changed})


@pytest.mark.untyped
@every_loop
@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda p, X, Y: (p, X[:0], Y[:0]), ValueError, "X has no examples"),
        (lambda p, X, Y: (p, X, Y[:3]), ValueError, "X has 6 examples but Y has 3"),
        (lambda p, X, Y: (p, X, Y[:, 0]), ValueError, r"Y has shape \(\d,\), expected \(n, 2\)"),
        (lambda p, X, Y: (p, X[:, :2], Y), ValueError, r"X has shape \(\d, 2\), expected \(n, 3\)"),
        (
            lambda p, X, Y: (p, X.at[1, 2].set(jnp.nan), Y),
            ValueError,
            r"X must be finite.*\(1, 2\)",
        ),
        (lambda p, X, Y: (p, X, Y.at[0, 0].set(jnp.inf)), ValueError, "Y must be finite"),
        (lambda p, X, Y: (p, list(X), Y), TypeError, "X must be an array"),
        (lambda p, X, Y: ((), X, Y), ValueError, "params has no numbers"),
        (lambda p, X, Y: (range(0), X, Y), ValueError, "params has no numbers"),
        (lambda p, X, Y: ((jnp.ones((0, 3)),), X, Y), ValueError, "params has no numbers"),
        (lambda p, X, Y: (jax.tree.map(jnp.int32, p), X, Y), TypeError, "must be floating"),
        (lambda p, X, Y: ((p[0], p[0]), X, Y), ValueError, r"params\[1\].W has shape"),
        (
            lambda p, X, Y: ((p[0], Layer(p[1].W, p[1].b * jnp.nan)), X, Y),
            ValueError,
            r"params\[1\].b must be finite",
        ),
    ],
)
def test_bad_problems(loop: Any, change: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        loop(*change(*problem(CASE)), learning_rate=0.1, steps=1)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be between 1 and 6, got 0"),
        ({"batch_size": 7}, ValueError, "batch_size must be between 1 and 6, got 7"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer"),
        ({"key": 0}, TypeError, "key must"),
    ],
)
def test_bad_sampling(changed: Any, error: Any, match: str) -> None:
    choices = {"key": jax.random.key(0), "batch_size": 2, **changed}
    with pytest.raises(error, match=match):
        minibatch_sgd(*problem(CASE), learning_rate=0.1, steps=1, **choices)


@pytest.mark.untyped
@pytest.mark.parametrize("name", LOOPS)
def test_a_gradient_is_called_with_the_rows_of_a_batch_and_an_error_says_so(name: str) -> None:
    params, X, Y = problem(CASE)
    rows = {"gradient_descent": 6, "sgd": 1, "minibatch_sgd": 4}[name]
    seen = set()

    def gradient(params: Any, X: Any, Y: Any) -> Any:
        seen.add((len(X), len(Y)))
        return batch_backprop(params, X, Y)

    LOOPS[name](params, X, Y, learning_rate=0.1, steps=3, gradient=gradient)
    assert seen == {(rows, rows)}
    with pytest.raises(ValueError, match="X has shape") as caught:
        LOOPS[name](params, X[:, :2], Y, learning_rate=0.1, steps=3)
    expected = f"X has shape ({rows}, 2), expected (n, 3), one example in each row"
    batch = "" if rows == 6 else f", in a batch of {rows} of the 6 rows"
    assert str(caught.value) == expected + batch
