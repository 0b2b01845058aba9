"""A network of one hidden layer of tanh, its examples in rows, and its gradients by hand."""

from typing import Any

import numpy as np

D, H, M, RATE = 3, 4, 2, 0.5


def arrays(row_biases: bool = False) -> list[np.ndarray]:
    """W1, b1, W2, b2 of z = x W + b, with b of shape (m,) or (1, m)."""
    rng = np.random.default_rng(3)
    biases = [(1, H), (1, M)] if row_biases else [(H,), (M,)]
    return [rng.normal(size=s) for s in ((D, H), biases[0], (H, M), biases[1])]


X, Y = np.random.default_rng(4).normal(size=(5, D)), np.random.default_rng(5).normal(size=(5, M))


def gradients(
    W1: Any, b1: Any, W2: Any, b2: Any, x: Any, y: Any, slip: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """dW1, db1, dW2, db2 of z = x W + b with tanh; the slip leaves the mean out of db1."""
    a = np.tanh(x @ W1 + b1)
    d2 = (a @ W2 + b2 - y) / len(x)
    d1 = d2 @ W2.T * (1 - a**2)
    return x.T @ d1, d1.sum(0) * (len(x) if slip else 1), a.T @ d2, d2.sum(0)


def of_objects(values: Any) -> np.ndarray:
    """A vector of NumPy whose entries are these values."""
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array
