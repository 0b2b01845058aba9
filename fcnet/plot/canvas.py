"""What all figures use: axes, colours, and checked series."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from fcnet.checks import check_type, check_unmasked
from fcnet.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
else:
    Axes = Any  # tests check types as they run, and matplotlib is optional

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
SERIES = ((BLUE, "o"), (ORANGE, "x"), (GREEN, "^"))
"""Colour and marker of the first, second, ... series of a figure."""


def axes(ax: Axes | None) -> Axes:
    """`ax` itself, or the axes of a new pyplot figure."""
    if ax is None:
        with extra("plot"):
            import matplotlib.pyplot as plt
        ax = plt.figure(figsize=(6.4, 4), layout="constrained").add_subplot()
    return ax


def panels(n: int) -> list[Axes]:
    """`n` axes side by side in a new pyplot figure."""
    with extra("plot"):
        import matplotlib.pyplot as plt
    figure = plt.figure(figsize=(2.9 * n + 1, 3.2), layout="constrained")
    return list(figure.subplots(1, n, squeeze=False)[0])


def with_legend(ax: Axes) -> Axes:
    """`ax` with a legend, and without the upper and right lines of its frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def dot(y: np.ndarray) -> str:
    """The marker of a curve, or of one in each column: a line does not show a single point.

    >>> dot(np.array([0.5])), dot(np.array([0.5, np.nan])), dot(np.array([0.5, 0.4]))
    ('o', 'o', '')
    """
    return "o" if np.isfinite(y).sum(axis=0).max() == 1 else ""


def margins(low: np.ndarray, high: np.ndarray, share: float) -> np.ndarray:
    """A share of each range; where all values are equal, of their size, at least of 1.

    >>> margins(np.array([0.0, 5.0, 0.0]), np.array([2.0, 5.0, 0.0]), 0.1)
    array([0.2, 0.5, 0.1])
    """
    width = high - low
    return np.asarray(share * np.where(width > 0, width, np.maximum(abs(high), 1)))


def check_names(names: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    """Raise ValueError or TypeError unless there is a name for each input and each unit."""
    if not isinstance(names, Sequence) or not all(isinstance(n, Sequence) for n in names):
        raise TypeError(f"names must be a list of names for each layer, got {names!r:.60}")
    if [len(layer) for layer in names] != list(widths):
        raise ValueError(
            f"names has {[len(layer) for layer in names]} entries for the layers, expected {widths}"
        )


def same_shape(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64; ValueError unless they have the same shape."""
    x, y = _numbers(x), _numbers(y)
    if x.shape != y.shape:
        raise ValueError(f"expected values of shape {x.shape}, got shape {y.shape}")
    return x, y


def _numbers(values: ArrayLike) -> np.ndarray:
    check_unmasked("an array to draw", values)
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected an array of real numbers, got {values!r:.60}") from error


def check_named(values: object) -> None:
    """Raise TypeError unless what is to be drawn has names."""
    check_type("what is drawn", values, Mapping, "a dictionary, whose keys are the names")


def series(
    x: ArrayLike, curves: Mapping[str, ArrayLike]
) -> list[tuple[str, np.ndarray, np.ndarray, str, str]]:
    """Name, x, y, colour and marker of each curve; ValueError if there is none."""
    check_named(curves)
    if not curves:
        raise ValueError("expected at least one named series to draw, got none")
    return [
        (name, *same_shape(x, values), color, marker)
        for (name, values), (color, marker) in zip(curves.items(), cycle(SERIES), strict=False)
    ]
