"""Right and wrong backward passes at random points, in eight regimes, for gradient checkers."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet import LOSSES, Loss, mean_loss

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # for the tests' programs

from support.faults import STATELESS
from support.faulty_backprop import Fault, Setting, candidate, forward
from support.rounded_backprop import Variant, variants

from benchmarks.checkers import Claim

DTYPES = {"float64": np.float64, "float32": np.float32, "bfloat16": jnp.bfloat16}


class Regime(NamedTuple):
    """Where a candidate is tried: sizes, examples, dtype, the scale of the loss, exact ties."""

    name: str
    sizes: tuple[int, ...] = (5, 4, 4, 3)
    n: int = 5
    dtype: str = "float64"
    scale: float = 1.0
    activation: str = "tanh"
    ties: bool = False


REGIMES = (
    Regime("float64"),
    Regime("float32", dtype="float32"),
    Regime("bfloat16", dtype="bfloat16"),
    Regime("loss x 1e-4", scale=1e-4),
    Regime("loss x 1e4", dtype="float32", scale=1e4),
    Regime("wide", sizes=(20, 30, 30, 5), n=7, dtype="float32"),
    Regime("deep", sizes=(4, 4, 4, 4, 4, 4, 4, 2), activation="relu"),
    Regime("ties", activation="relu", ties=True),
)


def setting_of(regime: Regime) -> Setting:
    """The regime as the tests' programs take it."""
    return Setting(regime.activation, loss="squared_error", scale=regime.scale)


def point(regime: Regime, seed: int) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """A random network and examples; with ties, biases of zero and a row of zeros."""
    draw = np.random.default_rng(seed)
    dtype = DTYPES[regime.dtype]
    layers = list(zip(regime.sizes, regime.sizes[1:], strict=False))
    network = [
        (
            (draw.normal(size=(m, d)) * np.sqrt(2 / d)).astype(dtype),
            (draw.normal(size=m) / 3).astype(dtype),
        )
        for d, m in layers
    ]
    X = draw.normal(size=(regime.n, regime.sizes[0])).astype(dtype)
    Y = draw.normal(size=(regime.n, regime.sizes[-1])).astype(dtype)
    if regime.ties:
        X[-1] = 0
        network = [(W, 0 * b) for W, b in network[:-1]] + network[-1:]
    return network, X, Y


@cache
def _scaled_loss(c: float) -> Loss:
    """One object for each c, so that a program compiled for it is used again."""
    value, derivative = LOSSES["squared_error"][1:3]
    return Loss("scaled", lambda o, y: c * value(o, y), lambda o, y: c * derivative(o, y))


def claim_at(regime: Regime, seed: int, backward: Callable[..., Any]) -> Claim:
    """A candidate at a point; the loss is the mean squared error times the regime's scale."""
    c = regime.scale
    loss = _scaled_loss(c)

    def value(pairs: Any, X: Any, Y: Any) -> Any:
        m = forward(setting_of(regime), pairs, X, Y)
        return c * ((m.mean - Y) ** 2).sum() / (2 * len(X))

    def jax_value(pairs: Any, X: Any, Y: Any) -> Any:
        return mean_loss(pairs, X, Y, activation=regime.activation, loss=loss)

    network, X, Y = point(regime, seed)
    problem = {"activation": regime.activation, "loss": loss}
    return Claim(network, X, Y, value, jax_value, backward, problem)


def wrong_programs(regime: Regime, seeds: int) -> Iterator[tuple[Claim, tuple[int, str, int]]]:
    """Each fault in one layer where it applies, another for each seed; with its exact place."""
    setting = setting_of(regime)
    for seed in range(seeds):
        network, X, Y = point(regime, seed)
        right = _flat(candidate(setting, batched=True), network, X, Y)
        for i, fault in enumerate(STATELESS):
            m = forward(setting, network, X, Y)
            layers = [k for k in range(1, m.r + 1) if fault.applies(m, k)]
            own = fault.kind == "derivative_of_relu" and regime.activation == "relu"
            if own or not layers:  # ReLU's own derivative is right, whatever its value at 0
                continue
            k = layers[(i + seed) % len(layers)]
            backward = candidate(setting, [(fault, k)], batched=True)
            got = _flat(backward, network, X, Y)
            size = np.linalg.norm(right)
            if np.isfinite(got).all() and np.linalg.norm(got - right) > 0.05 * size:
                line = {"delta": 2 if k == m.r else 4}.get(fault.quantity, 5)
                yield claim_at(regime, seed, backward), (line, fault.quantity, k)


def with_error(regime: Regime, size: float) -> Claim:
    """The right program with a relative error in the entry of median size of dW^[1]."""
    network, X, Y = point(regime, 0)
    setting = setting_of(regime)
    entries = np.ravel(candidate(setting, batched=True)(network, X, Y)[0][0])
    at = np.argsort(abs(entries.astype(float)))[entries.size // 2]

    def edit(m: Any, k: int, v: Any) -> Any:
        v = v.copy()
        v.reshape(-1)[at] *= v.dtype.type(1 + size)
        return v

    fault = (Fault("", "dW", edit), 1)
    return claim_at(regime, 0, candidate(setting, [fault], batched=True))


def _flat(backward: Callable[..., Any], *args: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        leaves = [np.ravel(leaf) for pair in backward(*args) for leaf in pair]
    return np.concatenate(leaves).astype(np.float64)


def right_programs(regime: Regime, seeds: int) -> Iterator[Claim]:
    """Correct programs: several orders of summation, two formulas each, and `MANNERS`."""
    for seed in range(seeds):
        for variant in variants(regime.dtype):
            yield claim_at(regime, seed, _rounded(variant, regime))
        for manner in MANNERS:
            yield claim_at(regime, seed, manner(regime))


def _rounded(variant: Variant, regime: Regime) -> Callable[..., Any]:
    def backward(params: Any, X: Any, Y: Any) -> Any:
        pairs = variant.gradient(params, X, Y, regime.activation, "squared_error")
        return _scaled(pairs, regime.scale)

    return backward


def _scaled(pairs: Any, scale: float) -> list[Any]:
    return [tuple(leaf * leaf.dtype.type(scale) for leaf in pair) for pair in pairs]


def _tape(regime: Regime) -> Callable[..., Any]:
    """Every operation records its own pullback on a tape, which is read backwards."""

    def backward(params: Any, X: Any, Y: Any) -> Any:
        number = X.dtype.type
        tape, grads, a = [], {}, X
        for k, (W, b) in enumerate(params):
            z = a @ W.T + b

            def affine(g: Any, k: int = k, a: Any = a, W: Any = W) -> Any:
                grads[k] = (g.T @ a, g.sum(0))
                return g @ W

            tape.append(affine)
            if k == len(params) - 1:
                a = z
            elif regime.activation == "relu":
                a = np.maximum(z, number(0))
                tape.append(lambda g, z=z: np.where(z > 0, g, number(0)))
            else:
                a = np.tanh(z)
                tape.append(lambda g, a=a: g * (number(1) - a * a))
        g = (a - Y) * number(regime.scale / len(X))
        for pullback in reversed(tape):
            g = pullback(g)
        return [tuple(leaf.astype(X.dtype) for leaf in grads[k]) for k in range(len(params))]

    return backward


def _row_by_row(regime: Regime) -> Callable[..., Any]:
    """The sum of single examples' gradients, divided once at the end."""
    one = candidate(setting_of(regime), batched=False)

    def backward(params: Any, X: Any, Y: Any) -> Any:
        rows = [one(params, x, y) for x, y in zip(X, Y, strict=True)]
        n = X.dtype.type(len(X))
        return jax.tree.map(lambda *leaves: sum(leaves) / n, *rows)

    return backward


def _columns(regime: Regime) -> Callable[..., Any]:
    """All arrays in Fortran order."""
    whole = candidate(setting_of(regime), batched=True)

    def backward(params: Any, X: Any, Y: Any) -> Any:
        turned = [(np.asfortranarray(W), b.copy()) for W, b in params]
        pairs = whole(turned, np.asfortranarray(X), np.asfortranarray(Y))
        return [(np.asfortranarray(dW), db) for dW, db in pairs]

    return backward


def _convention(slope: float) -> Callable[[Regime], Callable[..., Any]]:
    """Another ReLU'(0); the same for other activations."""

    def make(regime: Regime) -> Callable[..., Any]:
        def kink(m: Any, k: int, v: Any) -> Any:
            return m.back[k] * np.where(m.Z[k] == 0, slope, m.Z[k] > 0).astype(v.dtype)

        faults = [(Fault("", "delta", kink), k) for k in range(1, len(regime.sizes) - 1)]
        return candidate(setting_of(regime), faults if regime.activation == "relu" else [], True)

    return make


def _float32_inside(regime: Regime) -> Callable[..., Any]:
    """Computes in float32 on float64 arguments, and otherwise in their own dtype."""
    whole = candidate(setting_of(regime), batched=True)

    def backward(params: Any, X: Any, Y: Any) -> Any:
        if X.dtype != np.float64:
            return whole(params, X, Y)
        narrow = jax.tree.map(np.float32, (params, X, Y))
        return [tuple(leaf.astype(np.float64) for leaf in pair) for pair in whole(*narrow)]

    return backward


MANNERS = (
    _tape,
    _row_by_row,
    _columns,
    _convention(0.0),
    _convention(0.5),
    _float32_inside,
)
"""Correct programs beside those of `rounded_backprop`: 14 in all, 16 in float32."""
