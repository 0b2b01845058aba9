"""Parameters in forms that need evidence: without biases, with bias columns, in one vector."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from support.correct_candidates import SIZES, Pairs, UserLayout, gradient


def without_biases(pairs: Pairs) -> Pairs:
    return [(W, 0 * b) for W, b in pairs]


def _weights_alone(write: Callable[[Any], Any], read: Callable[[Any], Any]) -> UserLayout:
    return UserLayout(
        lambda p: write([W for W, _ in p]), lambda u: [(W, np.zeros(len(W))) for W in read(u)]
    )


WITHOUT_BIASES: dict[str, UserLayout] = {
    "list of weights": _weights_alone(list, list),
    "list of weights, in, out": _weights_alone(
        lambda weights: [W.T for W in weights], lambda u: [W.T for W in u]
    ),
    "names of weights": _weights_alone(
        lambda weights: {f"W{k}": W for k, W in enumerate(weights, 1)}, lambda u: list(u.values())
    ),
    "named list of weights": _weights_alone(
        lambda weights: {"weights": weights}, lambda u: u["weights"]
    ),
    "pairs with None": _weights_alone(
        lambda weights: [(W, None) for W in weights], lambda u: [W for W, _ in u]
    ),
    "one vector of weights": _weights_alone(
        lambda weights: np.concatenate([W.ravel() for W in weights]),
        lambda u: [W for W, _ in cut(u, [(k, "W") for k in range(len(SIZES) - 1)])],
    ),
}
"""Layouts of a network without biases; the vector is for `SIZES`."""


def _beside(first: bool) -> Callable[[Pairs], list[Any]]:
    def write(pairs: Pairs) -> list[Any]:
        return [np.c_[b, W] if first else np.c_[W, b] for W, b in pairs]

    return write


def _apart(first: bool) -> Callable[[Sequence[Any]], Pairs]:
    def read(matrices: Sequence[Any]) -> Pairs:
        return [(T[:, 1:], T[:, 0]) if first else (T[:, :-1], T[:, -1]) for T in matrices]

    return read


def _columns(first: bool) -> UserLayout:
    return UserLayout(_beside(first), _apart(first))


def cut(theta: np.ndarray, order: Sequence[tuple[int, str]], fortran: bool = False) -> Pairs:
    """A vector for `SIZES` cut into its arrays, W[k] and b[k] counted from 0."""
    arrays, start = {}, 0
    for k, role in order:
        shape = (SIZES[k + 1], SIZES[k]) if role == "W" else (SIZES[k + 1],)
        part = theta[start : start + int(np.prod(shape))]
        arrays[k, role] = part.reshape(shape, order="F" if fortran else "C")
        start += part.size
    r = len(SIZES) - 1
    return [(arrays[k, "W"], arrays.get((k, "b"), np.zeros(SIZES[k + 1]))) for k in range(r)]


def _vector(order: Sequence[tuple[int, str]], fortran: bool = False) -> UserLayout:
    def write(pairs: Pairs) -> np.ndarray:
        arrays = [pairs[k]["Wb".index(role)] for k, role in order]
        return np.concatenate([a.ravel(order="F" if fortran else "C") for a in arrays])

    return UserLayout(write, lambda theta: cut(theta, order, fortran))


def _column(vector: UserLayout) -> UserLayout:
    """A vector as a matrix of one column."""
    return UserLayout(
        lambda pairs: vector.write(pairs)[:, None], lambda theta: vector.read(theta[:, 0])
    )


def _vector_of_columns(first: bool, fortran: bool) -> UserLayout:
    """As a course unrolls its matrices with a bias column into one vector, in either order."""
    order: Any = "F" if fortran else "C"

    def write(pairs: Pairs) -> np.ndarray:
        return np.concatenate([T.ravel(order=order) for T in _beside(first)(pairs)])

    def read(theta: np.ndarray) -> Pairs:
        d, h, m = SIZES
        one, two = theta[: h * (d + 1)], theta[h * (d + 1) :]
        matrices = one.reshape((h, d + 1), order=order), two.reshape((m, h + 1), order=order)
        return _apart(first)(matrices)

    return UserLayout(write, read)


WbWb, WWbb = [(0, "W"), (0, "b"), (1, "W"), (1, "b")], [(0, "W"), (1, "W"), (0, "b"), (1, "b")]

WITH_BIASES: dict[str, UserLayout] = {
    "bias column first": _columns(True),
    "bias column last": _columns(False),
    "bias row first": UserLayout(
        lambda p: [T.T for T in _beside(True)(p)], lambda u: _apart(True)([T.T for T in u])
    ),
    "bias row last, by name": UserLayout(
        lambda p: {f"Theta{k}": T.T for k, T in enumerate(_beside(False)(p), 1)},
        lambda u: _apart(False)([T.T for T in u.values()]),
    ),
    "vector": _vector(WbWb),
    "vector, weights first": _vector(WWbb),
    "vector, biases first": _vector([(0, "b"), (1, "b"), (0, "W"), (1, "W")]),
    "vector, each b before its W": _vector([(0, "b"), (0, "W"), (1, "b"), (1, "W")]),
    "vector, columns of W": _vector(WbWb, fortran=True),
    "vector as a column": _column(_vector(WbWb)),
    "vector, bias columns": _vector_of_columns(first=True, fortran=False),
    "vector, bias columns last": _vector_of_columns(first=False, fortran=False),
    "vector, bias columns, by columns": _vector_of_columns(first=True, fortran=True),
}
"""Layouts with biases that shapes do not tell; the vectors are for `SIZES`."""

OTHER_LAYOUTS = WITHOUT_BIASES | WITH_BIASES


def candidate_in(
    name: str, function: Callable[..., Any] = gradient, loss: bool = False
) -> Callable[..., Any]:
    """A backward pass of batches in one of these layouts, alone or after its loss."""
    layout = OTHER_LAYOUTS[name]

    def backward(params: Any, X: Any, Y: Any) -> Any:
        value, pairs = function(layout.read(params), X, Y)
        result = layout.write(pairs)
        return (value, result) if loss else result

    return backward


def parameters_in(name: str, pairs: Pairs) -> tuple[Any, Pairs]:
    """A network in one of these layouts, and as pairs."""
    pairs = without_biases(pairs) if name in WITHOUT_BIASES else pairs
    return OTHER_LAYOUTS[name].write(pairs), pairs
