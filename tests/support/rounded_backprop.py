"""Correct backward passes that round in different ways, in NumPy and without fcnet.

They differ in the order of summation (four, and tensor-core products), in the formula of each
derivative (two), and in taking the mean early or late. Every operation is rounded to the dtype.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

DTYPES: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def in_order(A: Any, B: Any) -> Any:
    """A @ B with every product and every partial sum rounded, term by term."""
    total = np.zeros((A.shape[0], B.shape[1]), A.dtype)
    for k in range(A.shape[1]):
        total = total + A[:, k, None] * B[k]
    return total


def in_reverse(A: Any, B: Any) -> Any:
    return in_order(A[:, ::-1], B[::-1])


def in_pairs(A: Any, B: Any) -> Any:
    terms = A[:, :, None] * B
    while terms.shape[1] > 1:
        if terms.shape[1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[:, :1])], axis=1)
        terms = terms[:, ::2] + terms[:, 1::2]
    return terms[:, 0]


def wide(A: Any, B: Any) -> Any:
    """Partial sums in float32 at least, rounded once at the end, as on accelerators."""
    dtype = np.promote_types(np.float32, A.dtype) if A.dtype.itemsize > 2 else np.float32
    return (A.astype(dtype) @ B.astype(dtype)).astype(A.dtype)


def tensor_core(A: Any, B: Any) -> Any:
    """Float32 factors rounded to TensorFloat-32, 10 bits after the point, to nearest even."""

    def rounded(x: Any) -> Any:
        bits = np.ascontiguousarray(x).view(np.uint32)
        bits = bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
        return (bits & np.uint32(0xFFFFE000)).view(np.float32)

    return rounded(A) @ rounded(B)


PRODUCTS = {
    "in order": in_order,
    "in reverse": in_reverse,
    "in pairs": in_pairs,
    "wide": wide,
    "tensor core": tensor_core,
}


def _sigmoid(z: Any) -> Any:
    one = z.dtype.type(1)
    return one / (one + np.exp(-z))


SIGMAS: dict[str, list[tuple[Callable[..., Any], Callable[..., Any]]]] = {
    "relu": [
        (lambda z: np.maximum(z, z.dtype.type(0)), lambda z, a: (z > 0).astype(z.dtype)),
        (lambda z: z * (z >= 0).astype(z.dtype), lambda z, a: (z >= 0).astype(z.dtype)),
    ],
    "tanh": [
        (np.tanh, lambda z, a: z.dtype.type(1) - a * a),
        (
            lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
            lambda z, a: z.dtype.type(1) / (np.cosh(z) * np.cosh(z)),
        ),
    ],
    "sigmoid": [
        (_sigmoid, lambda z, a: a * (z.dtype.type(1) - a)),
        (_sigmoid, lambda z, a: np.exp(-z) * _sigmoid(z) * _sigmoid(z)),
    ],
}
"""For each activation two ways to write it, beside its derivative of (z, a)."""


def _softmax(o: Any, shifted: bool) -> Any:
    e = np.exp(o - o.max(1, keepdims=True) if shifted else o)
    return e / in_order(e, np.ones((o.shape[1], 1), o.dtype))


RESIDUALS: dict[str, list[Callable[..., Any]]] = {
    "squared_error": [lambda o, y: o - y, lambda o, y: -(y - o)],
    "logistic": [lambda o, y: _sigmoid(o) - y, lambda o, y: -(y - _sigmoid(o))],
    "softmax_cross_entropy": [
        lambda o, y: _softmax(o, True) - y,
        lambda o, y: _softmax(o, False) - y,
    ],
}


class Variant(NamedTuple):
    """One way to compute: a key of `PRODUCTS`, and the first or second formula of each table."""

    product: str
    formula: int

    def gradient(
        self, params: Any, X: Any, Y: Any, activation: str, loss: str
    ) -> list[tuple[Any, Any]]:
        """The gradient of the mean loss, in the dtype of the arguments."""
        dot, n = PRODUCTS[self.product], X.dtype.type(len(X))
        sigma, slope = SIGMAS[activation][self.formula]
        late = self.formula == 0
        a, z = [X], []
        for k, (W, b) in enumerate(params):
            z.append(dot(a[-1], W.T) + b)
            a.append(sigma(z[-1]) if k < len(params) - 1 else z[-1])
        delta = RESIDUALS[loss][self.formula](a[-1], Y)
        delta = delta if late else delta / n
        ones = np.ones((1, len(X)), X.dtype)
        gradient: list[tuple[Any, Any]] = []
        for k in reversed(range(len(params))):
            dW, db = dot(delta.T, a[k]), in_order(ones, delta)[0]
            gradient.insert(0, (dW / n, db / n) if late else (dW, db))
            if k:
                delta = dot(delta, params[k][0]) * slope(z[k - 1], a[k])
        return gradient


def variants(dtype: str) -> Iterator[Variant]:
    """All variants that a dtype allows."""
    for product in PRODUCTS:
        if product != "tensor core" or dtype == "float32":
            for formula in (0, 1):
                yield Variant(product, formula)
