"""The output of a network over its two inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from fcnet.checks import (
    as_array,
    as_examples,
    as_params,
    check_finite,
    check_same_length,
    check_shape,
)
from fcnet.network import batch_forward
from fcnet.plot.canvas import Axes, axes, check_named, margins, panels
from fcnet.types import Activation, Pairs

GRID = 121
"""The number of grid points on each side of a surface."""


def surface(
    params: Pairs,
    X: Num[ArrayLike, "n 2"],
    Y: Num[ArrayLike, "n 1"],
    *,
    level: float | None = None,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    ax: Axes | None = None,
) -> Axes:
    """The output of a network over its two inputs, with the examples in the same colours.

    An example has the colour of its target: if only its edge is visible, the network is right. With
    targets 0 and 1 this is a decision surface, with level 0.5 for the output activation "sigmoid".

    Args:
        params: r layers, with d = 2 and m_r = 1.
        X, Y: examples and their targets, shapes (n, 2) and (n, 1); they determine the ranges of the
            axes and of the colours.
        level: the output at which to draw a line, a number.
        activation, output_activation: as in `forward`.
        ax: where to draw.

    Raises:
        ValueError, TypeError: as `forward`, and for other shapes.
    """
    choices: Any = {"activation": activation, "output_activation": output_activation}
    _check_level(level)
    heights, X, Y = _on_grid(params, X, Y, **choices)
    ax = axes(ax)
    ax.figure.colorbar(
        _draw_surface(ax, heights, X, Y, level), ax=ax, label="output", extend="both"
    )
    ax.set_title("A network over its inputs")
    return ax


def surfaces(
    networks: Mapping[str, Pairs],
    X: Num[ArrayLike, "n 2"],
    Y: Num[ArrayLike, "n 1"],
    *,
    level: float | None = None,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    ax: Sequence[Axes] | None = None,
) -> Sequence[Axes]:
    """`surface` for several networks side by side, such as the stages of training.

    All have the same scale of colours.

    Args:
        networks: one or more networks by the titles of their axes, such as "step 100".
        X, Y, level, activation, output_activation: as in `surface`.
        ax: where to draw: axes of one figure, one for each network.

    Raises:
        ValueError, TypeError: as `surface`, and for another number of axes.
    """
    check_named(networks)
    if not networks:
        raise ValueError("expected at least one named network to draw, got none")
    choices: Any = {"activation": activation, "output_activation": output_activation}
    _check_level(level)
    drawn = [_on_grid(params, X, Y, **choices) for params in networks.values()]
    ax = panels(len(networks)) if ax is None else ax
    if len(ax) != len(networks):
        raise ValueError(f"got {len(ax)} axes for {len(networks)} networks, expected one for each")
    for panel, title, what in zip(ax, networks, drawn, strict=True):
        mesh = _draw_surface(panel, *what, level)
        panel.set_title(title)
    for panel in ax[1:]:
        panel.set_ylabel("")
        panel.tick_params(labelleft=False)
    ax[0].figure.colorbar(mesh, ax=list(ax), label="output", extend="both")
    return ax


def _check_level(level: float | None) -> None:
    """Raise unless the level is None or a finite number."""
    if level is not None:
        number = as_array("level", level)
        check_shape("level", number, (), "a single number")
        check_finite("level", number)


def _on_grid(
    params: Pairs, X: ArrayLike, Y: ArrayLike, **choices: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The outputs on a grid a little larger than the range of the examples; rows are x_2."""
    layers = as_params(params)
    sizes = layers[0].W.shape[1], layers[-1].W.shape[0]
    if sizes != (2, 1):
        raise ValueError(
            f"params have {sizes[0]} inputs and {sizes[1]} outputs, expected 2 and 1 for a surface"
        )
    X = as_examples("X", X, 2, layers[0].W.dtype)
    Y = as_examples("Y", Y, 1, layers[0].W.dtype)
    check_same_length(X, Y)
    points = np.stack(np.meshgrid(*_sides(np.asarray(X))), axis=-1)
    heights = np.asarray(batch_forward(layers, points.reshape(-1, 2), **choices))
    return heights.reshape(GRID, GRID), np.asarray(X), np.asarray(Y)[:, 0]


def _sides(X: np.ndarray) -> list[np.ndarray]:
    """The two sides of the grid."""
    low, high = X.min(axis=0), X.max(axis=0)
    margin = margins(low, high, 0.05)
    return list(np.linspace(low - margin, high + margin, GRID, axis=1))


def _draw_surface(
    ax: Axes, heights: np.ndarray, X: np.ndarray, Y: np.ndarray, level: float | None
) -> Any:
    """Draw the colours, the line and the points; return the mesh for a colour bar."""
    from matplotlib.patheffects import withStroke

    scale: Any = {"vmin": Y.min(), "vmax": Y.max(), "cmap": "cividis"}
    mesh = ax.pcolormesh(*_sides(X), heights, shading="nearest", rasterized=True, **scale)
    if level is not None:
        line = ax.contour(*_sides(X), heights, [level], colors="white", linewidths=2)
        line.set_path_effects([withStroke(linewidth=4, foreground="black")])
    points = ax.scatter(X[:, 0], X[:, 1], c=Y, s=20, edgecolors="white", linewidths=0.6, **scale)
    points.set_path_effects([withStroke(linewidth=1.6, foreground="black")])
    ax.set(xlabel="$x_1$", ylabel="$x_2$")
    return mesh
