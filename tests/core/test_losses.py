"""The table of losses, and the cost that they make of a network."""

import pickle
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special
from support.problems import Case, assert_close, compiled, problem

import fcnet
from fcnet import LOSSES, Loss
from fcnet.losses import as_shares, get_loss, sum_dtype

NAMES = list(LOSSES)

# the same loss in optax, which has none for Poisson
TWINS = {
    "squared_error": lambda o, y: optax.l2_loss(o, y).sum(),
    "logistic": lambda o, y: optax.sigmoid_binary_cross_entropy(o, y).sum(),
    "softmax_cross_entropy": optax.softmax_cross_entropy,
    "poisson": lambda o, y: jnp.exp(o).sum() - y @ o,
}
# the value and its derivative, each in a form other than the package's
CLOSED_FORMS = {
    "squared_error": (lambda o, y: (o @ o - 2 * o @ y + y @ y) / 2, lambda o, y: o - y),
    "logistic": (
        lambda o, y: -np.sum(y * np.log(special.expit(o)) + (1 - y) * np.log(special.expit(-o))),
        lambda o, y: (1 - y) * special.expit(o) - y * special.expit(-o),
    ),
    "softmax_cross_entropy": (
        lambda o, y: -y @ np.log(np.exp(o) / np.exp(o).sum()),
        lambda o, y: np.exp(o) / np.exp(o).sum() - y,
    ),
    "poisson": (
        lambda o, y: -np.sum(np.log(np.exp(-np.exp(o)) * np.exp(o) ** y)),
        lambda o, y: np.expm1(o) + 1 - y,
    ),
}


def outputs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=4), rng.dirichlet(np.ones(4))


def test_every_loss_has_its_row_in_these_tables() -> None:
    assert list(TWINS) == list(CLOSED_FORMS) == NAMES
    assert all(row.name == name for name, row in LOSSES.items())


@pytest.mark.notes("(1.1)")
@pytest.mark.parametrize("name", NAMES)
def test_value_and_derivative_have_their_closed_forms(fc: Any, name: str) -> None:
    row, closed_forms, twin = fc.LOSSES[name], CLOSED_FORMS[name], TWINS[name]
    functions = row.value, row.derivative, twin, jax.grad(row.value), jax.grad(twin)
    at_once = jax.jit(lambda o, y: [function(o, y) for function in functions])
    with jax.enable_x64(True):
        for seed in range(3):
            o, y = outputs(seed)
            value, derivative, twins_value, *slopes = at_once(o, y)
            for expected in (closed_forms[0](o, y), twins_value):
                assert_close(value, np.asarray(expected))
            for expected in (closed_forms[1](o, y), *slopes):
                assert_close(derivative, expected)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_agrees_with_differences(fc: Any, name: str) -> None:
    row, h = fc.LOSSES[name], 1e-5
    with jax.enable_x64(True):
        o, y = outputs()
        value = partial(compiled, jax.vmap(row.value, in_axes=(0, None)))
        steps = h * np.eye(4)
        differences = (value(o + steps, y) - value(o - steps, y)) / (2 * h)
        assert_close(compiled(row.derivative, o, y), differences, 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "o", "y", "value", "derivative"),
    [
        ("logistic", [1000, -1000], [1, 0], 0, [0, 0]),
        ("logistic", [1000, -1000], [0, 1], 2000, [1, -1]),
        ("logistic", [1e30, -100], [1, 1], 100, [0, -1]),
        ("softmax_cross_entropy", [1000, 0, -1000], [1, 0, 0], 0, [0, 0, 0]),
        ("softmax_cross_entropy", [1000, 0, -1000], [0, 0, 1], 2000, [1, 0, -1]),
        ("softmax_cross_entropy", [1e30, 1e30], [0.5, 0.5], 0, [0, 0]),
        ("poisson", [-1000, -100], [0, 2], 200, [0, -2]),
        ("poisson", [1000], [1], np.inf, [np.inf]),
        ("squared_error", [1000, -1000], [0, 0], 1e6, [1000, -1000]),
    ],
)
def test_extreme_outputs_give_the_limit(
    name: str, o: Any, y: Any, value: Any, derivative: Any, dtype: str
) -> None:
    with jax.enable_x64(dtype == "float64"):
        o, y = np.array(o, dtype), np.array(y, dtype)
        got = compiled(lambda o, y: (LOSSES[name].value(o, y), LOSSES[name].derivative(o, y)), o, y)
    assert got[0].dtype == got[1].dtype == dtype
    np.testing.assert_allclose(got[0], value, rtol=1e-6)
    np.testing.assert_allclose(got[1], derivative, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("squared_error", [-1e9, 0.5], []),
        ("logistic", [0, 1, 0.5], [-0.01, 1.01]),
        ("poisson", [0, 0.5, 1e9], [-1]),
    ],
)
def test_which_targets_a_loss_accepts(name: str, good: list[float], bad: list[float]) -> None:
    accepts = LOSSES[name].labels.accepts
    assert np.asarray(accepts(jnp.array(good))).all()
    assert not np.asarray(accepts(jnp.array(bad))).any()


def test_the_softmax_accepts_distributions_in_rows() -> None:
    accepts = LOSSES["softmax_cross_entropy"].labels.accepts
    assert accepts(jax.nn.one_hot(jnp.array([0, 2]), 3)).all()
    assert accepts(jnp.full((3, 7), 1 / 7)).all()
    for wrong in ([2, 0, 1], [0.5, 0.4, 0], [1.5, -0.5, 0], [0, 0, 0]):
        assert not accepts(jnp.array(wrong, float)).all()


@pytest.mark.notes("(1.1)")
def test_example_loss_is_half_the_square_of_the_residual(fc: Any) -> None:
    params = ((jnp.eye(2), jnp.zeros(2)),)
    o = jnp.array([3.0, -1.0])
    assert fc.example_loss(params, o, o + jnp.array([2.0, 4.0])) == 10.0
    assert fc.example_loss(params, o, o) == 0.0


@pytest.mark.notes("(1.2)")
@pytest.mark.parametrize("loss", NAMES)
def test_mean_loss_is_the_mean_of_the_examples(fc: Any, loss: str) -> None:
    case = Case(loss=loss, output_activation="tanh")
    with jax.enable_x64(True):
        params, X, Y = problem(case)
        mean = compiled(fc.mean_loss, params, X, Y, **case.choices)
        one = jax.jit(lambda x, y: fc.example_loss(params, x, y, **case.choices))
        losses = np.array([one(x, y) for x, y in zip(X, Y, strict=True)])
        assert_close(mean, jnp.asarray(losses.mean()))
        twice = [jnp.concatenate([v, v[::-1]]) for v in (X, Y)]
        assert_close(compiled(fc.mean_loss, params, *twice, **case.choices), mean)


@pytest.mark.notes("(1.2)")
def test_weights_are_shares_of_the_examples(fc: Any) -> None:
    case = Case(loss="logistic")
    weights = np.array([2, 0, 1, 0, 0, 3, 1])
    with jax.enable_x64(True):
        params, X, Y = problem(case)
        repeated = [np.repeat(v, weights, axis=0) for v in (X, Y)]
        for function in (fc.mean_loss, fc.batch_backprop):
            expected = compiled(function, params, *repeated, **case.choices)
            for scale in (1, 5):
                shared = compiled(function, params, X, Y, weights=scale * weights, **case.choices)
                assert_close(shared, expected)
            none = compiled(function, params, X, Y, weights=0 * weights, **case.choices)
            assert not any(leaf.any() for leaf in jax.tree.leaves(none))


@pytest.mark.untyped
@pytest.mark.notes("(1.1)")
def test_a_column_minus_a_row_would_be_a_matrix() -> None:
    """Why shapes are checked: the wrong cost below is 400 times too large, and nobody complains."""
    y = jnp.arange(5.0)
    predictions = (y + 0.1)[:, None]
    assert jnp.mean((predictions - y) ** 2) / 2 > 400 * jnp.mean((predictions[:, 0] - y) ** 2) / 2
    params = ((jnp.ones((1, 1)), jnp.zeros(1)),)
    for X, Y in ((predictions, y), (predictions[:, 0], y[:, None])):
        with pytest.raises(ValueError, match="expected \\(n, 1\\)"):
            fcnet.mean_loss(params, X, Y)


def test_a_row_of_the_callers_own_is_taken_as_it_is() -> None:
    mine = Loss("absolute", lambda o, y: abs(o - y).sum(), lambda o, y: jnp.sign(o - y))
    assert get_loss(mine) is mine
    assert get_loss("poisson") is LOSSES["poisson"]


@pytest.mark.parametrize(("weight", "n", "dtype"), [(1e-30, 4, "f"), (100, 1000, "float16")])
def test_shares_of_weights_whose_sum_is_out_of_range(weight: float, n: int, dtype: str) -> None:
    shares = as_shares(np.full(n, weight), n, dtype)
    assert shares.dtype == sum_dtype(dtype)
    np.testing.assert_allclose(shares, 1 / n, rtol=1e-3)
    with pytest.raises(ValueError, match="weights have no finite sum"):
        as_shares(np.full(4, 3e38), 4, "float32")


@pytest.mark.untyped
def test_masked_entries_are_refused() -> None:
    X = np.ma.array([[3.0], [999.0]], mask=[[0], [1]])
    params = (fcnet.Layer(jnp.ones((1, 1)), jnp.zeros(1)),)
    with pytest.raises(ValueError, match="X has masked entries: remove or impute them"):
        fcnet.mean_loss(params, X, np.zeros((2, 1)))
    assert fcnet.mean_loss(params, np.ma.array(X.data), X.data) == 0
    with pytest.raises(TypeError, match="X must hold real numbers"):
        fcnet.mean_loss(params, jax.random.split(jax.random.key(0), 2), X.data)


def test_the_order_of_bytes_does_not_matter() -> None:
    params = (fcnet.Layer(jnp.ones((1, 1)), jnp.zeros(1)),)
    X = np.array([[3.0], [4.0]])
    assert fcnet.mean_loss(params, X.astype(">f4"), X.astype(">f8")) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_made_from_one_of_the_table_can_be_pickled(name: str) -> None:
    mine = LOSSES[name]._replace(name="mine")
    again = pickle.loads(pickle.dumps(mine))
    assert again == mine
    assert pickle.loads(pickle.dumps(LOSSES[name])) is fcnet.LOSSES[name]
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(mine._replace(mean=lambda o: o))
