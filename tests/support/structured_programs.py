"""Right gradients that need something of their arguments: one-hot rows, an inverse that is R', ...

Each row draws arguments with a property that its gradient by hand uses, and its function does not.
So a checker that tries arguments without the property calls these programs wrong.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Structured(NamedTuple):
    """A function, its gradient by hand, and arguments at which that is right.

    `needs` is the property in words, with the argument's name; "" if the gradient is right without.
    `still` are the places of the arguments that no move can change.
    """

    function: Callable[..., Any]
    gradient: Callable[..., Any]
    draw: Callable[[np.random.Generator], tuple[Any, ...]]
    needs: str
    still: tuple[int, ...] = ()


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def one_hot(r, n, k):
    return np.eye(k)[r.permutation(np.arange(n) % k)]


def spd(r, n):
    A = r.normal(size=(n, n))
    return A @ A.T + n * np.eye(n)


def symmetric(r, n):
    A = r.normal(size=(n, n))
    return A + A.T


def orthogonal(r, n):
    return np.linalg.qr(r.normal(size=(n, n)))[0]


def unit(x, axis=-1):
    return x / np.sqrt((x * x).sum(axis, keepdims=True))


def mask(r, *shape):
    """Zeros and ones, each at least once."""
    size = int(np.prod(shape))
    return r.permutation(np.arange(size) % 3 > 0).reshape(shape) * 1.0


def cross_entropy(z, y):
    return -(y * jax.nn.log_softmax(z)).sum()


def divergence(z, p):
    return (p * (jnp.log(p) - jax.nn.log_softmax(z))).sum()


def by_label(s, t):
    return jnp.where(t == 1, jax.nn.softplus(-s), jax.nn.softplus(s)).sum()


def rejection(x, u):
    return ((x - u * (u @ x) / (u @ u)) ** 2).sum()


def weighted_variance(x, w):
    mean = w @ x / w.sum()
    return (w * (x - mean) ** 2).sum()


def turned_back(x, R, w):
    return (w * (jnp.linalg.inv(R) @ x) ** 2).sum()


def padded(w, x):
    return jnp.where(x == 0, 0, jnp.sin(w + x)).sum()


def log_determinant(A):
    return 2 * jnp.log(jnp.diag(jnp.linalg.cholesky(A))).sum()


def on_unit_rows(x, V):
    return jnp.tanh(V / jnp.linalg.norm(V, axis=1, keepdims=True) @ x).sum()


def on_unit_rows_by_hand(x, V):
    return V.T @ (1 - np.tanh(V @ x) ** 2)


def padding(r):
    x = r.normal(size=(4, 5))
    x[np.arange(5) >= np.array([5, 2, 3, 4])[:, None]] = 0
    return x


PAD = np.arange(5) < np.array([5, 2, 3, 4])[:, None]

STRUCTURED = {
    "one-hot rows": Structured(
        cross_entropy,
        lambda z, y: softmax(z) - y,
        lambda r: (r.normal(size=(5, 3)), one_hot(r, 5, 3)),
        "the rows of y sum to 1",
        still=(1,),
    ),
    "soft targets": Structured(
        cross_entropy,
        lambda z, y: softmax(z) - y,
        lambda r: (r.normal(size=(4, 3)), softmax(r.normal(size=(4, 3)))),
        "the rows of y sum to 1",
    ),
    "a distribution": Structured(
        divergence,
        lambda z, p: softmax(z) - p,
        lambda r: (r.normal(size=6), softmax(r.normal(size=6))),
        "all of p sums to 1",
    ),
    "labels of 0 and 1": Structured(
        by_label,
        lambda s, t: 1 / (1 + np.exp(-s)) - t,
        lambda r: (r.normal(size=6), mask(r, 6)),
        "the entries of t are 0 or 1",
        still=(1,),
    ),
    "labels of -1 and 1": Structured(
        lambda s, t: jax.nn.softplus(-jnp.sign(t) * s).sum(),
        lambda s, t: -t / (1 + np.exp(t * s)),
        lambda r: (r.normal(size=6), 2 * mask(r, 6) - 1),
        "the entries of t are integers",
    ),
    "a mask": Structured(
        lambda x, m: ((x * m) ** 2).sum(),
        lambda x, m: np.where(m > 0, 2 * x, 0),
        lambda r: (r.normal(size=(3, 4)), mask(r, 3, 4)),
        "the entries of m are 0 or 1",
        still=(1,),
    ),
    "a dropout mask": Structured(
        lambda x, m: ((x * m) ** 2).sum(),
        lambda x, m: np.where(m > 0, 2 * x * m.max() ** 2, 0),
        lambda r: (r.normal(size=(3, 4)), mask(r, 3, 4) * 2),
        "the entries of m are 0 or 2",
        still=(1,),
    ),
    "counts": Structured(
        lambda s, k: (jnp.exp(s) - jnp.round(k) * s).sum(),
        lambda s, k: np.exp(s) - k,
        lambda r: (r.normal(size=7), r.permutation(7) * 1.0),
        "the entries of k are integers",
    ),
    "a positive definite matrix": Structured(
        log_determinant, np.linalg.inv, lambda r: (spd(r, 4),), "A is symmetric"
    ),
    "a diagonal covariance": Structured(
        log_determinant,
        np.linalg.inv,
        lambda r: (np.diag(r.uniform(1, 2, size=4)),),
        "A is symmetric",
    ),
    "joint probabilities": Structured(
        lambda x, P: x @ P @ x / P.sum(),
        lambda x, P: 2 * P @ x,
        lambda r: (
            r.normal(size=4),
            np.add(A := softmax(r.normal(size=16)).reshape(4, 4), A.T) / 2,
        ),
        "P is symmetric and all of P sums to 1",
    ),
    "a symmetric matrix": Structured(
        lambda x, A: x @ A @ x,
        lambda x, A: 2 * A @ x,
        lambda r: (r.normal(size=4), symmetric(r, 4)),
        "A is symmetric",
    ),
    "eigenvalues": Structured(
        lambda A: (jnp.linalg.eigvalsh(A) ** 2).sum(),
        lambda A: 2 * A,
        lambda r: (symmetric(r, 4),),
        "A is symmetric",
    ),
    "an antisymmetric matrix": Structured(
        lambda x, K: ((x + K @ x) ** 2).sum(),
        lambda x, K: 2 * (x - K @ (K @ x)),
        lambda r: (r.normal(size=4), np.subtract(A := r.normal(size=(4, 4)), A.T)),
        "K is antisymmetric",
    ),
    "a triangular matrix": Structured(
        lambda L, x: ((jnp.tril(L) @ x) ** 2).sum(),
        lambda L, x: np.tril(2 * np.outer(L @ x, x)),
        lambda r: (np.tril(r.normal(size=(4, 4))), r.normal(size=4)),
        "L is lower triangular",
    ),
    "a diagonal matrix": Structured(
        lambda x, D: ((D @ x) ** 2).sum(),
        lambda x, D: 2 * np.diag(D) ** 2 * x,
        lambda r: (r.normal(size=4), np.diag(r.normal(size=4))),
        "D is diagonal",
    ),
    "a rotation": Structured(
        turned_back,
        lambda x, R, w: 2 * R @ (w * (R.T @ x)),
        lambda r: (r.normal(size=4), orthogonal(r, 4), r.normal(size=4)),
        "R is orthogonal",
    ),
    "a unit vector": Structured(
        rejection,
        lambda x, u: 2 * (x - u * (u @ x)),
        lambda r: (r.normal(size=5), unit(r.normal(size=5))),
        "the norm of u is 1",
    ),
    "unit rows": Structured(
        on_unit_rows,
        on_unit_rows_by_hand,
        lambda r: (r.normal(size=4), unit(r.normal(size=(6, 4)))),
        "the rows of V have norm 1",
    ),
    "unit columns": Structured(
        lambda x, V: jnp.tanh(x @ (V / jnp.linalg.norm(V, axis=0))).sum(),
        lambda x, V: V @ (1 - np.tanh(x @ V) ** 2),
        lambda r: (r.normal(size=4), unit(r.normal(size=(4, 6)), axis=0)),
        "the columns of V have norm 1",
    ),
    "weights": Structured(
        weighted_variance,
        lambda x, w: 2 * w * (x - w @ x),
        lambda r: (r.normal(size=6), softmax(r.normal(size=6))),
        "all of w sums to 1",
    ),
    "transition probabilities": Structured(
        lambda x, P: (P @ x).sum() * (x @ P @ x),
        lambda x, P: x @ P @ x + x.sum() * (P @ x + P.T @ x),
        lambda r: (r.uniform(1, 2, size=4), softmax(r.normal(size=(4, 4))).T),
        "the columns of P sum to 1",
    ),
    "order": Structured(
        lambda x, s: (x**2 * jnp.sort(s)).sum(),
        lambda x, s: 2 * x * s,
        lambda r: (r.normal(size=6), np.sort(np.linspace(1, 1.2, 6) + r.normal(size=6) / 100)),
        "s is in ascending order",
    ),
    "padding": Structured(
        padded,
        lambda w, x: PAD * np.cos(w + x),
        lambda r: (r.normal(size=(4, 5)), padding(r)),
        "the zeros of x stay 0",
    ),
    "shares": Structured(
        lambda x, p: (x**2 * jnp.clip(p, -1, 1)).sum(),
        lambda x, p: 2 * x * p,
        lambda r: (r.normal(size=6), np.array([0.99, -0.98, 1.0, 0.5, -0.2, 0.97])),
        "the entries of p are in [-1, 1]",
    ),
    "counts of rows": Structured(
        lambda s, k: (jnp.exp(s) * k.sum(-1, keepdims=True) - k * s).sum(),
        lambda s, k: np.exp(s) * k.sum(-1, keepdims=True) - k,
        lambda r: (r.normal(size=(3, 4)), r.integers(1, 6, size=(3, 4)) * 1.0),
        "",
    ),
}
