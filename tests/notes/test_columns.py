"""Section 4: examples in columns and in rows, forward and backward, and the traps of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.notes_cases import assert_rejects, normals, random_params
from support.problems import assert_close, compiled

from fcnet import Layer, Params, backprop, batch_backprop, forward, mean_loss
from fcnet.notes import (
    RowLayer,
    affine_columns,
    affine_rows,
    as_column,
    backprop_columns,
    backprop_rows,
    forward_columns,
    forward_rows,
    from_row_params,
    repeat_bias,
    to_columns,
    to_row_params,
    to_rows,
)

pytestmark = pytest.mark.usefixtures("x64")

SIZES = [(4, 3, 1), (3, 3, 3), (4, 3, 2, 3), (3, 2)]


def case(key: Array, sizes: tuple[int, ...], n: int) -> tuple[Params, Array, Array]:
    """Layers, and examples and targets in rows."""
    X, Y = normals(key, (n, sizes[0]), (n, sizes[-1]))
    return random_params(key, sizes), X, Y


@pytest.mark.notes("(4.1)")
@pytest.mark.parametrize("n", [1, 3, 4])
def test_example_i_is_column_i(n: int, key: Array) -> None:
    (X,) = normals(key, (n, 4))
    columns = to_columns(X)
    assert columns.shape == (4, n)
    for i in range(n):
        assert (columns[:, i] == X[i]).all()
        assert (as_column(X[i]) == columns[:, i : i + 1]).all()
    assert (to_rows(columns) == X).all()


@pytest.mark.notes("(4.2)", "(4.3)")
def test_the_bias_in_every_column() -> None:
    b = np.array([1.0, 2.0, 3.0])
    assert repeat_bias(b, 2).tolist() == [[1, 1], [2, 2], [3, 3]]
    assert repeat_bias(b, 1).shape == (3, 1)
    X = np.ones((4, 5))
    assert_close(affine_columns(np.ones((3, 4)), b, X), 4 + repeat_bias(b, 5))


@pytest.mark.notes("(4.2)", "(4.3)", "(4.4)")
@pytest.mark.parametrize("n", [3, 5], ids=["n = m", "n > m"])
def test_every_example_gets_its_pre_activation(n: int, key: Array) -> None:
    """With n = m the bias added along the wrong axis is silent; with n > m it is an error."""
    ((W, b),), X, _ = case(key, (4, 3), n)

    W, b, X = map(np.asarray, (W, b, X))

    def assert_columns(Z) -> None:
        assert_close(Z, np.stack([W @ x + b for x in X], axis=1))

    assert_columns(affine_columns(W, b, X.T))
    assert_columns(affine_rows(X, W.T, b).T)
    assert_rejects(assert_columns, affine_columns(W, b, X.T).T)
    if n == 3:
        assert_rejects(assert_columns, W @ X.T + b)
        assert_rejects(assert_columns, (X @ W.T + b[:, None]).T)
    else:
        with pytest.raises(ValueError, match="could not be broadcast"):
            W @ X.T + b


@pytest.mark.notes("(4.2)", "(4.4)")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("n", [1, 3])
def test_outputs_are_those_of_one_example_at_a_time(sizes, n: int, key: Array) -> None:
    params, X, _ = case(key, sizes, n)
    single = jax.jit(forward)
    one_by_one = np.stack([single(params, x) for x in X])
    assert_close(compiled(forward_columns, params, X.T), one_by_one.T)
    assert_close(compiled(forward_rows, to_row_params(params), X), one_by_one)


@pytest.mark.notes("(4.4)")
def test_conversion_transposes_the_weights_and_keeps_the_biases(key: Array) -> None:
    params, _, _ = case(key, (4, 3, 2, 3), 1)
    rows = to_row_params(params)
    assert [layer.W.shape for layer in rows] == [(4, 3), (3, 2), (2, 3)]
    assert all((row.b == layer.b).all() for row, layer in zip(rows, params, strict=True))
    assert_close(from_row_params(rows), params, 0)


@pytest.mark.notes("(4.4)")
@pytest.mark.untyped
def test_layers_of_the_other_convention_are_refused(key: Array) -> None:
    """A square W of the other convention fits, so its shape could not give it away."""
    params, X, Y = case(key, (3, 3, 3), 2)
    for call in (lambda: forward_rows(params, X), lambda: backprop_rows(params, X, Y)):
        with pytest.raises(TypeError, match=r"got Layer; to_row_params converts"):
            call()
    mistaken = tuple(RowLayer(*layer) for layer in params)
    assert_rejects(
        lambda rows: assert_close(
            compiled(forward_rows, rows, X), compiled(forward_columns, params, X.T).T
        ),
        mistaken,
    )


def assert_columns_gradient(gradient, params, X, Y, **choices) -> None:
    assert_close(
        compiled(gradient, params, X.T, Y.T, **choices),
        compiled(jax.grad(mean_loss), params, X, Y, **choices),
    )


def assert_rows_gradient(params, X, Y, **choices) -> None:
    rows = compiled(backprop_rows, to_row_params(params), X, Y, **choices)
    assert_close(from_row_params(rows), compiled(jax.grad(mean_loss), params, X, Y, **choices))


@pytest.mark.notes("(4.2)", "(4.4)", "Algorithm 5")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_backward_in_columns_and_in_rows(sizes, n: int, key: Array) -> None:
    params, X, Y = case(key, sizes, n)
    assert_columns_gradient(backprop_columns, params, X, Y)
    columns = compiled(backprop_columns, params, X.T, Y.T)
    assert_close(from_row_params(compiled(backprop_rows, to_row_params(params), X, Y)), columns)
    assert_close(compiled(batch_backprop, params, X, Y), columns)
    single = jax.jit(backprop)
    singles = [single(params, x, y) for x, y in zip(X, Y, strict=True)]
    assert_close(jax.tree.map(lambda *g: np.mean(g, axis=0), *singles), columns)


@pytest.mark.notes("(4.2)", "(4.4)")
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_backward_with_other_activations(activation: str, key: Array) -> None:
    params, X, Y = case(key, (4, 3, 3), 3)
    assert_columns_gradient(backprop_columns, params, X, Y, activation=activation)
    assert_rows_gradient(params, X, Y, activation=activation)


@pytest.mark.notes("(4.2)", "(4.4)")
@pytest.mark.parametrize("loss", ["logistic", "softmax_cross_entropy", "poisson"])
def test_backward_with_other_losses(loss: str, key: Array) -> None:
    params, X, _ = case(key, (4, 3, 3), 3)
    Y = np.eye(3)[[2, 0, 0]]
    assert_columns_gradient(backprop_columns, params, X, Y, loss=loss)
    assert_rows_gradient(params, X, Y, loss=loss)


def columns(*, scale=lambda n: 1 / n, dW=lambda D, A: D @ A.T, db=lambda D: D.sum(axis=1)):
    """The backward pass of two layers in columns, with each expression replaceable."""

    def gradient(params: Params, X: Array, Y: Array) -> Params:
        (W1, b1), (W2, b2) = params
        Z = W1 @ X + b1[:, None]
        A = jnp.maximum(Z, 0)
        D2 = (W2 @ A + b2[:, None] - Y) * scale(X.shape[1])
        D1 = (W2.T @ D2) * (Z >= 0)
        return Layer(dW(D1, X), db(D1)), Layer(dW(D2, A), db(D2))

    return gradient


WRONG = {
    "sum for mean": columns(scale=lambda n: 1),
    "1/n twice": columns(scale=lambda n: 1 / n**2),
    "db by the wrong axis": columns(db=lambda D: D.sum(axis=0)),
    "db not summed": columns(db=lambda D: D),
    "db averaged again": columns(db=lambda D: D.mean(axis=1)),
    "dW transposed": columns(dW=lambda D, A: (D @ A.T).T),
    "dW of the first example": columns(dW=lambda D, A: jnp.outer(D[:, 0], A[:, 0])),
}


@pytest.mark.notes("(4.2)")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_backward_passes_are_noticed(wrong, key: Array) -> None:
    square = case(key, (3, 3, 3), 3)  # every size the same, so that no shape gives it away
    assert_columns_gradient(columns(), *square)
    assert_rejects(lambda gradient: assert_columns_gradient(gradient, *square), wrong)


@pytest.mark.notes("(4.2)", "(4.4)")
def test_duplicating_the_examples_changes_nothing(key: Array) -> None:
    params, X, Y = case(key, (4, 3, 1), 3)

    def assert_mean(gradient) -> None:
        twice = compiled(gradient, params, np.tile(X.T, 2), np.tile(Y.T, 2))
        assert_close(twice, compiled(gradient, params, X.T, Y.T))

    assert_mean(backprop_columns)
    assert_rejects(assert_mean, WRONG["sum for mean"])


@pytest.mark.untyped
def test_bad_input(key: Array) -> None:
    params, X, Y = case(key, (4, 3, 1), 5)
    with pytest.raises(ValueError, match=r"X has shape \(5, 4\), expected \(d, n\) = \(4, 4\)"):
        forward_columns(params, X)
    with pytest.raises(ValueError, match=r"Y has shape \(5, 1\), expected \(m_r, n\) = \(1, 5\)"):
        backprop_columns(params, X.T, Y)
    with pytest.raises(ValueError, match="X has no examples"):
        forward_columns(params, X.T[:, :0])
    with pytest.raises(ValueError, match=r"X has shape \(4,\), expected \(d, n\)"):
        affine_columns(*params[0], X[0])
    with pytest.raises(ValueError, match="n must be between 1 and 2147483647, got 0"):
        repeat_bias(params[0].b, 0)
    with pytest.raises(ValueError, match=r"Y\[\d\] must be probabilities"):
        backprop_columns(params, X.T, Y.T, loss="logistic")
    rows = to_row_params(params)
    with pytest.raises(ValueError, match=r"X has shape \(4, 5\), expected \(n, d\)"):
        forward_rows(rows, X.T)
    with pytest.raises(ValueError, match=r"params\[1\].W has shape .* expected \(m_1, m_2\) = "):
        forward_rows(rows[::-1], X)
    for wrong in ((), None, X):
        with pytest.raises(TypeError, match="params must be a non-empty sequence of RowLayer"):
            from_row_params(wrong)
