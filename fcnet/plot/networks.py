"""Networks as circles and lines."""

from collections.abc import Sequence

import numpy as np

from fcnet.checks import as_params, check_finite
from fcnet.notes.house import EDGES, INPUTS, MASK
from fcnet.plot.canvas import BLUE, GREY, ORANGE, Axes, axes, check_names
from fcnet.types import Pairs


def house_network(*, ax: Axes | None = None) -> Axes:
    """Figure 2: the house network, whose edges are chosen by hand from prior knowledge (2.3).

    Args:
        ax: where to draw.
    """
    ax = axes(ax)
    hidden = tuple(EDGES)
    _draw_units(ax, [MASK, np.ones((1, len(hidden)))], [INPUTS, hidden, ["price"]])
    ax.set_title("Figure 2: the house network, wired by hand")
    return ax


def network(
    params: Pairs, names: Sequence[Sequence[str]] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Figure 3: a fully-connected network as circles and lines, for any number of layers (2.12).

    The line from unit i to unit j of layer k is `W^[k][j, i]`: blue and solid if positive, orange
    and dashed if negative, absent if exactly 0. Its width is relative to the largest in the layer.

    Args:
        params: r layers; readable up to about 12 units in each.
        names: r + 1 lists of names of the inputs and of the units of each layer; by default the
            notes' x_i, a_j^[k] and o_j.
        ax: where to draw.

    Raises:
        ValueError, TypeError: for layers that do not chain, weights that are not finite, or names
            that do not fit.

    >>> ax = network([(np.array([[2.0, -1.0]]), np.zeros(1))], [["size", "age"], ["price"]])
    >>> [text.get_text() for text in ax.texts]
    ['size', 'age', 'price']
    """
    weights = [np.asarray(layer.W) for layer in as_params(params)]
    for k, W in enumerate(weights):
        check_finite(f"params[{k}].W", W)
    widths = [weights[0].shape[1], *(len(W) for W in weights)]
    names = _symbols(widths) if names is None else names
    check_names(names, widths)
    ax = axes(ax)
    _draw_units(ax, weights, names, signed=True)
    ax.plot([], [], "-", color=BLUE, label="positive weight")
    ax.plot([], [], "--", color=ORANGE, label="negative weight")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2)
    ax.set_title("A fully-connected network")
    return ax


def _symbols(widths: Sequence[int]) -> list[list[str]]:
    """The notes' symbols for the inputs and the units of each layer."""
    inputs = [f"$x_{{{j}}}$" for j in range(1, widths[0] + 1)]
    outputs = [f"$o_{{{j}}}$" for j in range(1, widths[-1] + 1)]
    hidden = [
        [f"$a_{{{j}}}^{{[{k}]}}$" for j in range(1, m + 1)]
        for k, m in enumerate(widths[1:-1], start=1)
    ]
    return [inputs, *hidden, outputs]


def _draw_units(
    ax: Axes,
    weights: Sequence[np.ndarray],
    names: Sequence[Sequence[str]],
    *,
    signed: bool = False,
) -> None:
    """A circle for each unit, with layers from left to right, and a line for each weight."""
    from matplotlib.patches import Circle

    height = max(map(len, names))
    gap = 0.9 * max(2.0, height / 2)
    places = [
        [(k * gap, height / 2 - (j + 0.5) * height / len(layer)) for j in range(len(layer))]
        for k, layer in enumerate(names)
    ]
    for W, below, above in zip(weights, places[:-1], places[1:], strict=True):
        for (j, i), weight in np.ndenumerate(W):
            color, line = (BLUE, "-") if weight > 0 else (ORANGE, "--")
            if weight:
                ax.plot(
                    *zip(below[i], above[j], strict=True),
                    line,
                    color=color if signed else GREY,
                    linewidth=0.5 + 3 * abs(weight) / abs(W).max(),
                    zorder=1,
                )
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    for k, (layer, centres) in enumerate(zip(names, places, strict=True)):
        beside = {0: (-0.3, 0, "right"), len(names) - 1: (0.3, 0, "left")}
        dx, dy, align = beside.get(k, (0, -0.36, "center"))
        for name, (x, y) in zip(layer, centres, strict=True):
            ax.add_patch(Circle((x, y), 0.2, facecolor="white", edgecolor="black", zorder=2))
            ax.text(x + dx, y + dy, name, ha=align, va="center", bbox=box if dy else None)
    ax.set_aspect("equal")
    ax.margins(0.05)
    ax.axis("off")
