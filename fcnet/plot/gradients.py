"""Gradients, layer by layer."""

from collections.abc import Mapping, Sequence

import numpy as np

from fcnet.plot.canvas import Axes, axes

LEAST, MOST = 1e-17, 1.0
"""The ends of the colour scale of relative errors: below rounding in float64, and all wrong."""


def agreement(
    errors: Mapping[str, Sequence[tuple[float, float]]], *, ax: Axes | None = None
) -> Axes:
    """How well two gradients agree, layer by layer: relative errors of dJ/dW^[k] and dJ/db^[k].

    Args:
        errors: by what was compared, a row for each: r pairs (error of W, error of b), 0 or more.
        ax: where to draw.

    Raises:
        ValueError: for rows of different lengths, or none.
    """
    if len({np.shape(row) for row in errors.values()}) != 1:
        raise ValueError("errors must have one or more rows, all of the same number of layers")
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
