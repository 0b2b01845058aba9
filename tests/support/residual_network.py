"""A residual network with layer norm and softmax, by hand, with planted faults, in nine regimes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from support.named_programs import Steps

EPSILON = 1e-3


class Regime(NamedTuple):
    """Where the network is tried.

    `first` has the values that a training starts with: zero biases and shifts, gains of 1.
    """

    dtype: Any = "float64"
    scale: float = 1.0
    first: bool = False
    one_hot: bool = True
    integers: bool = False


REGIMES = {
    "float64": Regime(),
    "float32": Regime(dtype="float32"),
    "bfloat16": Regime(dtype=jnp.bfloat16),
    "small weights": Regime(scale=1e-3),
    "first values": Regime(first=True),
    "first values, float32": Regime(dtype="float32", first=True),
    "soft targets": Regime(one_hot=False),
    "soft targets, float32": Regime(dtype="float32", one_hot=False),
    "integers": Regime(integers=True),
}


def network(params, X, Y):
    """The mean cross-entropy; `params` are blocks (W, b, gain, shift), and (W, b) last."""
    *blocks, (W, b) = params
    a = X
    for U, c, gain, shift in blocks:
        centred = a - a.mean(1, keepdims=True)
        normed = centred / jnp.sqrt((centred**2).mean(1, keepdims=True) + EPSILON)
        a = a + jnp.tanh((normed * gain + shift) @ U + c)
    return -(Y * jax.nn.log_softmax(a @ W + b)).sum() / len(X)


def backward(step, params, X, Y):
    """The gradient by hand, in the dtype of X; `step` may plant a fault."""
    *blocks, (W, b) = params
    n, a, kept = len(X), X, []
    for U, c, gain, shift in blocks:
        centred = a - a.mean(1, keepdims=True)
        inverse = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + a.dtype.type(EPSILON))
        normed = centred * inverse
        t = np.tanh((normed * gain + shift) @ U + c)
        kept.append((centred, inverse, normed, t))
        a = a + t
    o = a @ W + b
    e = np.exp(o - o.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    do = step("o", (p - Y) / n, no_n=lambda: p - Y, plus=lambda: (p + Y) / n)
    grads = [(step("W", a.T @ do), step("b", do.sum(0), mean=lambda: do.mean(0)))]
    da = step("a", do @ W.T)
    for k in reversed(range(len(blocks))):
        grads.insert(0, None)
        grads[0], da = _block_back(step, k, blocks[k], kept[k], da)
    return jax.tree.map(lambda g, like: np.asarray(g, like.dtype), grads, list(params))


def _block_back(step, k, block, kept, da):
    (U, _, gain, shift), (centred, inverse, normed, t) = block, kept
    dz = step(f"z{k}", da * (1 - t * t), unsquared=lambda: da * (1 - t), no_slope=lambda: da + 0)
    dU = step(
        f"U{k}",
        (normed * gain + shift).T @ dz,
        no_shift=lambda: (normed * gain).T @ dz,
        no_gain=lambda: (normed + shift).T @ dz,
    )
    dscaled = step(f"scaled{k}", dz @ U.T)
    dgain = step(f"gain{k}", (dscaled * normed).sum(0), raw=lambda: (dscaled * centred).sum(0))
    dnormed = step(f"normed{k}", dscaled * gain, no_gain=lambda: dscaled + 0)
    mean = dnormed.mean(1, keepdims=True)
    along = normed * (dnormed * normed).mean(1, keepdims=True)
    dcentred = step(
        f"centred{k}",
        inverse * (dnormed - mean - along),
        no_mean=lambda: inverse * (dnormed - along),
        no_variance=lambda: inverse * (dnormed - mean),
    )
    below = step(f"a{k}", da + dcentred, no_residual=lambda: dcentred + 0, no_branch=lambda: da + 0)
    return (dU, step(f"c{k}", dz.sum(0)), dgain, step(f"shift{k}", dscaled.sum(0))), below


def arguments(regime: Regime, d: int = 4, n: int = 5) -> tuple[Any, ...]:
    """Random parameters, examples and targets."""
    r = np.random.default_rng(3)

    def block():
        U, c = r.normal(size=(d, d)) / 2 * regime.scale, r.normal(size=d) / 3
        gain, shift = 1 + r.normal(size=d) / 3, r.normal(size=d) / 3
        if regime.integers:
            U = r.integers(-2, 3, size=(d, d))
        return (U, 0 * c, np.ones(d), 0 * shift) if regime.first else (U, c, gain, shift)

    params = [block(), block(), (r.normal(size=(d, 3)), r.normal(size=3) * (not regime.first))]
    X = r.normal(size=(n, d))
    if regime.integers:
        X = np.round(3 * X) + np.arange(d)
    scores = np.exp(r.normal(size=(n, 3)))
    Y = np.eye(3)[np.arange(n) % 3] if regime.one_hot else scores / scores.sum(1, keepdims=True)
    return jax.tree.map(lambda x: np.asarray(x, regime.dtype), (params, X, Y))


def gradient_of(fault: tuple[str, str] | None = None) -> Callable[..., Any]:
    """The gradient, with a fault of `Steps` if one is given."""
    return lambda *args: backward(Steps(fault), *args)


def effective_faults(args: tuple[Any, ...]) -> list[tuple[str, str]]:
    """The faults that change the gradient by 5 % of its largest entry, and no shape."""
    step = Steps()
    right = jax.tree.leaves(backward(step, *args))
    size = max(abs(x).max() for x in right)

    def is_seen(fault: tuple[str, str]) -> bool:
        pairs = list(zip(right, jax.tree.leaves(gradient_of(fault)(*args)), strict=True))
        same = all(x.shape == y.shape for x, y in pairs)
        return same and max(abs(x - y).max() for x, y in pairs) > 0.05 * size

    return [fault for fault in step.faults if is_seen(fault)]
