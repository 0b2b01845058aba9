"""Evidence for the diagnosis: cases, the answers of candidates, and a plain reference."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from fcnet import LOSSES, Layer, Loss, Params, deltas, forward_trace, mean_loss
from fcnet.losses import as_objective
from fcnet.types import Trace
from fcnet.verify.types import Answer, Case, Cost, Reference
from support.faulty_backprop import Setting


def cost_of(setting: Setting) -> Cost:
    loss = LOSSES[setting.loss]
    if setting.scale != 1:
        c, plain = setting.scale, loss
        loss = Loss(
            f"{c} {plain.name}",
            lambda o, y: c * plain.value(o, y),
            lambda o, y: c * plain.derivative(o, y),
            plain.labels,
        )
    objective = as_objective(setting.activation, setting.output_activation, loss)
    return Cost(objective, setting.reduction)


def targets(setting: Setting, generator: np.random.Generator, n: int, m_r: int) -> np.ndarray:
    if setting.loss == "softmax_cross_entropy":
        return np.eye(m_r)[generator.integers(m_r, size=n)]
    if setting.loss == "logistic":
        return generator.integers(2, size=(n, m_r)).astype(float)
    return generator.normal(size=(n, m_r))


def cases(
    setting: Setting, sizes: tuple[int, ...], seed: int, rows: tuple[int, ...], dtype: Any = float
) -> list[Case]:
    """Random cases on one set of parameters, one for each number of rows; exact in dtype."""
    g = np.random.default_rng(seed)

    def exact(x: np.ndarray) -> np.ndarray:
        return x.astype(dtype).astype(float)

    def params() -> Params:
        return tuple(
            Layer(exact(g.normal(size=(m, below)) / np.sqrt(below)), exact(g.normal(size=m) / 2))
            for below, m in pairwise(sizes)
        )

    theta, other = params(), params()
    scales, large = (1.0, 1.0, 0.3, 5.0), setting.loss == "squared_error"
    return [
        Case(
            f"input {i}",
            other if i % 4 == 1 else theta,
            exact(g.normal(size=(n, sizes[0])) * scales[i % 4]),
            exact(targets(setting, g, n, sizes[-1]) * (100 if large and i % 4 == 2 else 1)),
        )
        for i, n in enumerate(rows)
    ]


@cache
def _functions(setting: Setting) -> tuple[Callable[..., Any], Callable[..., Any]]:
    objective = cost_of(setting).objective
    names, sigmas = objective.keywords, objective.sigmas

    def cost(params: Params, X: Any, Y: Any) -> Any:
        J = mean_loss(params, X, Y, **names)
        return J * len(X) if setting.reduction == "sum" else J

    def traces(params: Params, X: Any, Y: Any) -> Any:
        trace = jax.vmap(lambda x: forward_trace(params, x, **sigmas))(X)
        return trace, jax.vmap(lambda t, y: deltas(params, t, y, **names))(trace, Y)

    return jax.jit(jax.vmap(jax.grad(cost), in_axes=(0, 0, 0))), jax.jit(traces)


def reference_of(setting: Setting, case: Case, u: float = 2.0**-53) -> Reference:
    """Autodiff in float64, with tolerances from inputs perturbed by one unit roundoff."""
    g = np.random.default_rng(0)
    with jax.enable_x64(True):
        gradients, traces = _functions(setting)
        trace, delta = jax.tree.map(np.asarray, traces(*case[1:]))
        exact = jax.tree.map(lambda x: np.stack([x] * 5), tuple(case[1:]))
        noisy = jax.tree.map(
            lambda x: (
                x
                * (
                    1
                    + u
                    * np.r_[0, [1] * 4].reshape(5, *[1] * (x.ndim - 1))
                    * g.uniform(-1, 1, x.shape)
                )
            ),
            exact,
        )
        runs = jax.tree.map(np.asarray, gradients(*noisy))
    gradient = jax.tree.map(lambda x: x[0], runs)
    tolerance = jax.tree.map(
        lambda x: 16 * np.maximum(abs(x - x[0]).max(0), 4 * u * abs(x[0]).max()) + 1e-300, runs
    )
    kinks = tuple(
        np.full(z.shape, setting.activation == "relu") & (abs(z) <= 8 * u) for z in trace.z
    )
    zero = jax.tree.map(np.zeros_like, gradient)
    trace = Trace(tuple(trace.a), tuple(trace.z))
    return Reference(0.0, 0.0, trace, tuple(delta), kinks, gradient, {}, zero, tolerance)


def answer_of(
    backward: Callable[..., Any], case: Case, batched: bool, dtype: Any = float
) -> Answer:
    params = [(W.astype(dtype), b.astype(dtype)) for W, b in case.params]
    X, Y = case.X.astype(dtype), case.Y.astype(dtype)
    with np.errstate(all="ignore"):
        gradient = backward(params, X, Y) if batched else backward(params, X[0], Y[0])
    return Answer(
        tuple(Layer(dW.astype(float), db.astype(float)) for dW, db in gradient),
        None,
        np.dtype(dtype),
    )
