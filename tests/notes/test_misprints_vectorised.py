"""Section 3.5 and section 4: what is printed is wrong, and the reading taken is right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from sklearn.linear_model import LinearRegression
from support.notes_cases import assert_rejects, normals, random_params
from support.problems import assert_close, compiled

from fcnet import Layer, Params, backprop
from fcnet.notes import affine_columns, affine_rows, to_row_params

pytestmark = pytest.mark.usefixtures("x64")


def algorithm_5(params, x, y, *, stored_a, stored_z, line_2, last_k) -> dict[int, Layer]:
    """Algorithm 5 line by line, its doubtful places as arguments; layers count from 1, as there."""
    r = len(params)
    W, b = (dict(enumerate(leaves, start=1)) for leaves in zip(*params, strict=True))
    a, z = {0: x}, {}
    for k in range(1, r + 1):
        z[k] = W[k] @ a[k - 1] + b[k]
        a[k] = np.maximum(z[k], 0) if k < r else z[k]
    o = a[r]
    a, z = {k: a[k] for k in stored_a(r)}, {k: z[k] for k in stored_z(r)}
    delta = {r: line_2(z, o, y)}
    gradient = {}
    for k in range(r - 1, last_k - 1, -1):
        if k >= 1:
            delta[k] = (W[k + 1].T @ delta[k + 1]) * (z[k] >= 0)
        gradient[k + 1] = Layer(np.outer(delta[k + 1], a[k]), delta[k + 1])
    return gradient


READING = {
    "stored_a": lambda r: range(r),
    "stored_z": lambda r: range(1, r + 1),
    "line_2": lambda z, o, y: z[max(z)] - y,
    "last_k": 0,
}
DEPTHS = [(4, 1), (4, 3, 1), (4, 3, 2, 1)]
every_depth = pytest.mark.parametrize("sizes", DEPTHS, ids=["r = 1", "r = 2", "r = 3"])


def case(key: Array, sizes: tuple[int, ...]) -> tuple[Params, Array, Array]:
    params = random_params(key, sizes)
    alive = [layer._replace(b=layer.b + 5) for layer in params[:-1]]
    return (*alive, params[-1]), np.array([1.0, -2.0, 0.5, 3.0]), np.array([2.5])


def as_written(case, **printed) -> dict[int, Layer]:
    return algorithm_5(*case, **(READING | printed))


def by_layer(gradient: Params) -> dict[int, Layer]:
    return dict(enumerate(gradient, start=1))


@pytest.mark.misprint("Algorithm 5, line 1")
@every_depth
def test_line_1_stores_too_little(sizes, key: Array) -> None:
    problem = case(key, sizes)
    assert_close(as_written(problem), by_layer(compiled(backprop, *problem)))
    with pytest.raises(KeyError, match="0"):  # layer 1 needs a^[0]
        as_written(problem, stored_a=lambda r: range(1, r))
    r = len(sizes) - 1
    with pytest.raises(KeyError, match=str(r)):  # line 2 needs z^[r]
        as_written(problem, stored_z=lambda r: range(1, r), line_2=lambda z, o, y: z[r] - y)


@pytest.mark.misprint("Algorithm 5, line 2")
@every_depth
def test_line_2_as_printed_makes_every_gradient_zero(sizes, key: Array) -> None:
    problem = case(key, sizes)
    printed, expected = (
        as_written(problem, line_2=lambda z, o, y: z[max(z)] - o),
        by_layer(compiled(backprop, *problem)),
    )
    assert not any(leaf.any() for leaf in jax.tree.leaves(printed))
    assert_close(as_written(problem), expected)
    assert_rejects(lambda gradient: assert_close(gradient, expected), printed)


@pytest.mark.misprint("Algorithm 5, line 3")
@every_depth
def test_the_loop_as_printed_never_reaches_layer_1(sizes, key: Array) -> None:
    problem = case(key, sizes)
    printed, expected = as_written(problem, last_k=1), by_layer(compiled(backprop, *problem))
    assert set(expected) - set(printed) == {1}
    assert np.linalg.norm(expected[1].W) > 0.1
    assert_close(as_written(problem), expected)


@pytest.mark.misprint("Section 3.5, last sentence")
def test_a_weight_gradient_needs_the_activation_below() -> None:
    """Two inputs with the same z, so the same delta, and another gradient for W^[1]."""
    params = (Layer(jnp.array([[1.0, 1.0]]), jnp.zeros(1)),)
    one, other = (backprop(params, jnp.array(x), jnp.ones(1))[0] for x in ([1.0, 2.0], [3.0, 0.0]))
    assert one.b == other.b == 2
    assert one.W.tolist() == [[2, 4]]
    assert other.W.tolist() == [[6, 0]]


@pytest.mark.misprint("(4.2), sizes")
def test_the_sizes_of_a_batch() -> None:
    """m = 3 hidden units, d = 4 inputs and n = 2 houses: only X has 4 rows."""
    Z = affine_columns(np.ones((3, 4)), np.ones(3), np.ones((4, 2)))
    assert Z.shape == (3, 2)
    with pytest.raises(ValueError, match="could not be broadcast"):
        np.ones((3, 4)) @ np.ones((4, 2)) + np.ones((4, 1))


@pytest.mark.misprint("(4.2), broadcasting")
def test_a_vector_of_biases_is_broadcast_along_the_wrong_axis(key: Array) -> None:
    (W,) = normals(key, (3, 4))
    b = np.array([1.0, 2.0, 3.0])
    for n in (2, 3):
        (X,) = normals(key, (4, n))

        def assert_columns(Z, X=X) -> None:
            assert_close(Z, np.stack([W @ x + b for x in X.T], axis=1))

        assert_columns(affine_columns(W, b, X))
        assert_columns(W @ X + b[:, None])
        if n == 3:
            assert_rejects(assert_columns, W @ X + b)
        else:
            with pytest.raises(ValueError, match="could not be broadcast"):
                W @ X + b


@pytest.mark.misprint("(4.4), names")
def test_the_same_name_for_a_transpose_is_silent_where_d_is_m(key: Array) -> None:
    for m, d in ((3, 3), (2, 3)):
        (layer,) = random_params(key, (d, m))
        ((W, b),) = to_row_params((layer,))
        (X,) = normals(key, (5, d))

        def assert_rows(Z, X=X, layer=layer) -> None:
            assert_close(Z, affine_columns(*layer, X.T).T)

        assert_rows(affine_rows(X, W, b))
        if d == m:
            assert_rejects(assert_rows, affine_rows(X, layer.W, b))
        else:
            with pytest.raises(ValueError, match="matmul"):
                X @ layer.W


@pytest.mark.misprint("Section 4, packages")
def test_a_package_with_rows_and_the_weights_of_the_notes(key: Array) -> None:
    W, b = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.array([7.0, 8.0])
    (X,) = normals(key, (9, 3))
    fitted = LinearRegression().fit(X, affine_rows(X, W.T, b))
    assert_close(jnp.array(fitted.coef_), W, 1e-9)
    assert_close(jnp.array(fitted.predict(X)), affine_rows(X, W.T, b), 1e-9)
