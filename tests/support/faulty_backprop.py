"""Backward passes with planted faults: Algorithm 5 in NumPy, in any dtype, with edits at its lines.

Written without fcnet, so that the oracle is independent of the checker. A `Fault` says at which
line it may be planted and what a programmer might have written there; `candidate` builds the
function with any number of faults, or with none for a correct one.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "relu": (lambda z: np.where(z > 0, z, 0 * z), lambda z: (z >= 0).astype(z.dtype)),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "identity": (lambda z: z, np.ones_like),
}


def _softmax(o: np.ndarray) -> np.ndarray:
    e = np.exp(o - o.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


MEANS: dict[str, Callable[..., Any]] = {
    "squared_error": lambda o: o,
    "logistic": _sigmoid,
    "softmax_cross_entropy": _softmax,
}
"""What the output stands for: the loss's derivative is this minus the target."""


class Setting(NamedTuple):
    """The network and the loss that the candidate claims to differentiate."""

    activation: str = "tanh"
    output_activation: str = "identity"
    loss: str = "squared_error"
    reduction: str = "mean"
    scale: float = 1.0


Edit = Callable[[SimpleNamespace, int, np.ndarray], Any]


class Fault(NamedTuple):
    """A planted fault: `edit(m, k, value)` takes the pass so far, the layer, the right value.

    kind: the name the checker should give it; "unknown" for one that its table need not have.
    applies: whether a layer of a network is a place for it, given the pass's shapes and setting.
    """

    kind: str
    quantity: str
    edit: Edit
    applies: Callable[[SimpleNamespace, int], bool] = lambda m, k: True


Site = tuple[Fault, int]


def candidate(
    setting: Setting, faults: Sequence[Site] = (), batched: bool = False
) -> Callable[[Any, Any, Any], list[tuple[np.ndarray, np.ndarray]]]:
    """A function (params, x, y) or (params, X, Y) -> [(dW, db), ...] with these faults in it."""
    memory: dict[Any, Any] = {}

    def backward(params: Any, x: Any, y: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        X, Y = (x, y) if batched else (np.asarray(x)[None], np.asarray(y)[None])
        m = forward(setting, params, X, Y)
        m.memory = memory
        for k in range(m.r, 0, -1):
            m.D[k], m.dW[k], m.db[k] = lines(m, k, faults)
        return [(m.dW[k], m.db[k]) for k in range(1, m.r + 1)]

    return backward


def forward(setting: Setting, params: Any, X: np.ndarray, Y: np.ndarray) -> SimpleNamespace:
    """Line 1, examples as rows; W[k], b[k], A[k], Z[k] in the notes' numbering."""
    r, n = len(params), len(X)
    m = SimpleNamespace(setting=setting, r=r, n=n, X=X, Y=Y, back={}, D={}, dW={}, db={}, Z={})
    m.W = {k + 1: np.asarray(W) for k, (W, _) in enumerate(params)}
    m.b = {k + 1: np.asarray(b) for k, (_, b) in enumerate(params)}
    m.A = {0: X}
    for k in range(1, r + 1):
        m.Z[k] = m.A[k - 1] @ m.W[k].T + m.b[k]
        m.A[k] = sigma(m, k)[0](m.Z[k])
    m.mean = MEANS[setting.loss](m.A[r])
    m.share = (1 / n if setting.reduction == "mean" else 1) * setting.scale
    return m


def sigma(m: SimpleNamespace, k: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The activation of layer k and its derivative."""
    return ACTIVATIONS[m.setting.output_activation if k == m.r else m.setting.activation]


def slope(m: SimpleNamespace, k: int) -> np.ndarray:
    """sigma'(z^[k])."""
    return sigma(m, k)[1](m.Z[k])


def lines(
    m: SimpleNamespace, k: int, faults: Sequence[Site]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines 2 or 4, and 5, at layer k, each followed by the edits planted there."""
    dtype = m.W[k].dtype

    def edited(quantity: str, value: np.ndarray) -> np.ndarray:
        for fault, layer in faults:
            if layer == k and fault.quantity == quantity:
                value = np.asarray(fault.edit(m, k, value))
        return np.array(value, dtype)

    m.back[k] = (m.mean - m.Y) * m.share if k == m.r else m.D[k + 1] @ m.W[k + 1]
    m.D[k] = edited("delta", m.back[k] * slope(m, k))
    dW = edited("dW", m.D[k].T @ m.A[k - 1])
    return m.D[k], dW, edited("db", m.D[k].sum(0))
