"""Gradients, layer by layer and example by example."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.backpropagation import batch_backprop
from fcnet.losses import as_objective
from fcnet.plot.canvas import Axes, axes, check_named, dot, series, with_legend
from fcnet.train.per_example import per_example_gradients
from fcnet.types import Activation, Loss, Pairs

LEAST, MOST = 1e-17, 1.0
"""The ends of the colour scale of relative errors: below rounding in float64, and fully wrong."""


def agreement(
    errors: Mapping[str, Sequence[tuple[float, float]]], *, ax: Axes | None = None
) -> Axes:
    """How well two gradients agree, layer by layer: relative errors of dJ/dW^[k] and dJ/db^[k].

    Args:
        errors: a row for each comparison, by name: r pairs (error of W, error of b), 0 or more.
        ax: where to draw.

    Raises:
        ValueError: for rows of different lengths, or no rows.

    >>> ax = agreement({"float64": [(1e-16, 2e-16), (1e-15, 0.0)]})
    >>> [label.get_text() for label in ax.get_xticklabels()][:2], ax.texts[-1].get_text()
    (['$W^{[1]}$', '$b^{[1]}$'], '0')
    """
    check_named(errors)
    shapes = {name: np.shape(row) for name, row in errors.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(
            "errors must have one or more rows, all of the same number of layers, got "
            f"{shapes or 'none'}"
        )
    ax = axes(ax)
    from matplotlib.colors import LogNorm

    table = np.array([np.ravel(row) for row in errors.values()])
    image = ax.imshow(
        table.clip(LEAST, MOST), norm=LogNorm(LEAST, MOST), cmap="cividis", aspect="auto"
    )
    for (row, column), error in np.ndenumerate(table):
        text, color = f"{error:.0e}" if error else "0", "black" if error > 1e-6 else "white"
        ax.text(column, row, text, color=color, ha="center", va="center", fontsize=9)
    leaves = [rf"${leaf}^{{[{k + 1}]}}$" for k in range(table.shape[1] // 2) for leaf in "Wb"]
    ax.set_xticks(range(len(leaves)), leaves)
    ax.set_yticks(range(len(errors)), list(errors))
    ax.figure.colorbar(image, ax=ax, label="relative error")
    ax.set_title("Algorithm 5 against jax.grad")
    return ax


def gradient_norms(
    networks: Mapping[str, Pairs],
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n m_r"],
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    ax: Axes | None = None,
) -> Axes:
    """The norms of the examples' gradients: the share of examples with at most each norm.

    The norm is that of all W and b together. A dotted line is the norm of the mean gradient, that
    of the cost; if it is far left of the curve, the examples' gradients mostly cancel. Gradients of
    exactly 0 are not on the logarithmic axis: the curve begins at their share, and the legend says
    where all are 0.

    Args:
        networks: one or more networks by name, such as "at the start" and "trained".
        X, Y: examples and targets, shapes (n, d) and (n, m_r), n >= 1.
        activation, output_activation, loss: as in `mean_loss`.
        ax: where to draw.

    Raises:
        ValueError, TypeError: as `per_example_gradients`, and for no networks.
    """
    objective = as_objective(activation, output_activation, loss).keywords
    check_named(networks)
    norms = {
        name: per_example_gradients(params, X, Y, keep=optax.tree.norm, **objective)
        for name, params in networks.items()
    }
    shares = np.arange(1, np.shape(X)[0] + 1) / np.shape(X)[0]
    curves = series(shares, norms)
    ax = axes(ax)
    for name, share, norm, color, _ in curves:
        if not norm.any():
            ax.plot([], [], color=color, label=f"{name}: all are 0")
            continue
        line: Any = {"where": "post", "marker": dot(norm), "color": color, "label": name}
        ax.step(np.sort(norm), share, **line)
        if mean := float(optax.tree.norm(batch_backprop(networks[name], X, Y, **objective))):
            ax.axvline(mean, linestyle=":", color=color)
    ax.plot([], [], ":", color="black", label="of their mean")
    ax.set(xscale="log", xlabel="norm of the gradient", ylabel="share of the examples")
    ax.set_title("The gradient of each example")
    return with_legend(ax)
