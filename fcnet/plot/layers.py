"""Figures of the inside of a network, layer by layer."""

from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.activations import get_activation
from fcnet.checks import as_examples, as_params
from fcnet.network import forward_trace
from fcnet.plot.canvas import BLUE, ORANGE, Axes, axes, with_legend
from fcnet.types import Activation, Pairs


def pre_activations(
    params: Pairs,
    X: Num[ArrayLike, "n d"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    ax: Axes | None = None,
) -> Axes:
    """The pre-activations z^[k] of (2.13) of each unit, and the dead units.

    Each unit has a line from its least to its largest z over the examples, with a dot at the
    median. The units of a layer are sorted by their largest z. A unit is dead if sigma'(z) is 0 for
    every example, so that its gradient is 0: for ReLU, if its whole line is below 0.

    Args:
        params: r layers.
        X: examples, shape (n, d), n >= 1.
        activation, output_activation: as in `forward`.
        ax: where to draw.

    Raises:
        ValueError, TypeError: as `forward`, and for X without examples.
    """
    layers = as_params(params)
    X = as_examples("X", X, layers[0].W.shape[1], layers[0].W.dtype)
    if not len(X):
        raise ValueError("X has no examples: expected n >= 1")
    hidden = get_activation(activation)
    sigmas = [hidden] * (len(layers) - 1)
    sigmas += [get_activation(output_activation, "output_activation")]
    z: Any = jax.vmap(lambda x: forward_trace(layers, x, activation=hidden).z)(X)
    ax = axes(ax)
    place, spans, dead, ticks = [], [], [], []
    for k, (z_k, sigma) in enumerate(zip(z, sigmas, strict=True), start=1):
        order = np.argsort(np.max(z_k, axis=0), kind="stable")
        m = len(order)
        place.append(k + 0.8 * ((np.arange(m) + 0.5) / m - 0.5))
        spans.append(np.quantile(z_k, (0, 0.5, 1), axis=0)[:, order])
        dead.append(np.all(sigma.derivative(z_k) == 0, axis=0)[order])
        ticks.append(f"$z^{{[{k}]}}$\n{dead[-1].sum()} of {m}")
    width = min(1.5, 450 / (len(z) * max(map(len, dead))))  # so that neighbours stay apart
    x, (low, median, high), lost = np.hstack(place), np.hstack(spans), np.hstack(dead)
    for which, color, name in ((~lost, BLUE, "unit"), (lost, ORANGE, "dead unit")):
        if which.any():
            ends = np.stack([low, high, np.full_like(x, np.nan)])[:, which]  # NaN ends a line
            xs, ys = np.repeat(x[which], 3), ends.T.ravel()
            ax.plot(xs, ys, color=color, linewidth=width, label=name)
            ax.plot(x[which], median[which], "o", color=color, markersize=2 * width)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(1, len(ticks) + 1), ticks)
    ax.set(xlabel="layer, and its dead units", ylabel="pre-activation")
    ax.set_title(f"Pre-activations of {len(X):,} examples")
    return with_legend(ax)
