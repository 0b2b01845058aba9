"""Figures of ensembles."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.checks import as_count, as_examples, check_same_length
from fcnet.network import batch_forward
from fcnet.plot.canvas import BLUE, GREY, ORANGE, Axes, axes, margins, with_legend
from fcnet.train.members import as_layers
from fcnet.train.program import all_finite
from fcnet.types import Activation


def ensemble_band(
    params: Any,
    X: Num[ArrayLike, "n d"],
    Y: Num[ArrayLike, "n 1"],
    *,
    along: int = 0,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    ax: Axes | None = None,
) -> Axes:
    """The outputs of an ensemble along one input: members, their mean, and two spreads around it.

    The input extends beyond the examples by a quarter of its range on both sides, where the members
    were not trained. The other inputs are held at their means.

    Args:
        params: layers with a leading axis of K members, such as `sweep(...).params`; members whose
            parameters are not finite are left out, as in `ensemble`.
        X, Y: the examples to show, shapes (n, d) and (n, 1), n >= 1.
        along: the column of X to vary.
        activation, output_activation: as in `forward`.
        ax: where to draw.

    Raises:
        ValueError, TypeError: as `ensemble`, and for other shapes or an unknown column.
    """
    layers, stacked = as_layers(params)
    sizes = layers[0].W.shape[-1], layers[-1].b.shape[-1]
    if not stacked or sizes[1] != 1:
        raise ValueError(
            "params must have a leading axis of members and one output, got weights of shapes "
            f"{[layer.W.shape for layer in layers]}"
        )
    X = as_examples("X", X, sizes[0], layers[0].W.dtype)
    Y = as_examples("Y", Y, 1, layers[0].W.dtype)
    check_same_length(X, Y)
    X = np.asarray(X)
    column = X[:, as_count("along", along, least=0, most=sizes[0] - 1)]
    low, high = column.min(), column.max()
    margin = margins(low, high, 0.25)
    grid = np.linspace(low - margin, high + margin, 200, dtype=X.dtype)
    points = np.tile(X.mean(axis=0), (len(grid), 1))
    points[:, along] = grid
    finite = jax.vmap(all_finite)(layers)
    if not finite.any():
        raise ValueError("no member has finite parameters: expected at least one that has")
    one = partial(
        batch_forward, X=points, activation=activation, output_activation=output_activation
    )
    o: Any = jax.vmap(one)(jax.tree.map(lambda leaf: leaf[finite], layers))
    members = np.asarray(o)[:, :, 0]
    mean, spread = members.mean(axis=0), members.std(axis=0)
    ax = axes(ax)
    ax.scatter(
        column, np.asarray(Y)[:, 0], s=12, color=ORANGE, marker="x", alpha=0.6, label="example"
    )
    band: Any = {"color": BLUE, "alpha": 0.2, "linewidth": 0, "label": "mean ± 2 spreads"}
    ax.fill_between(grid, mean - 2 * spread, mean + 2 * spread, **band)
    lines = ax.plot(grid, members.T, color=GREY, linewidth=0.6, alpha=0.7)
    lines[0].set_label(f"{len(members)} members")
    ax.plot(grid, mean, color=BLUE, linewidth=2.5, label="mean")
    ax.set(xlabel=f"$x_{{{along + 1}}}$", ylabel="output", title="An ensemble")
    return with_legend(ax)
