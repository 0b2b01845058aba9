"""Figures of models and their data: the kink, the cost during training, and predictions."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from fcnet.checks import check_type
from fcnet.notes.neuron import kink as notes_kink
from fcnet.plot.canvas import (
    BLUE,
    GREY,
    ORANGE,
    Axes,
    axes,
    dot,
    same_shape,
    series,
    with_legend,
)
from fcnet.train.types import History


def kink(
    size: Float[ArrayLike, " n"],
    price: Float[ArrayLike, " n"],
    w: Float[ArrayLike, ""],
    b: Float[ArrayLike, ""],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Figure 1: synthetic prices by size, the best straight line, and one neuron (2.1).

    Args:
        size: in square feet, shape (n,), n >= 2.
        price: in dollars, shape (n,), from `fcnet.data.kinked_prices`, since the title says
            synthetic.
        w, b: of h(x) = max(w x + b, 0), in dollars per square foot and in dollars.
        ax: where to draw.

    Raises:
        ValueError: if size and price differ in shape.
    """
    x, y = same_shape(size, price)
    grid = np.linspace(0, 1.03 * x.max(), 400)
    neuron = np.asarray(jax.vmap(notes_kink, in_axes=(None, None, 0))(w, b, grid))
    slope, intercept = np.polyfit(x, y, 1)
    ax = axes(ax)
    ax.scatter(x, y / 1e3, s=14, color=GREY, alpha=0.7, label="synthetic house")
    ax.plot(grid, (slope * grid + intercept) / 1e3, "--", color=ORANGE, label="straight line")
    ax.plot(grid, neuron / 1e3, color=BLUE, linewidth=2.5, label="one neuron, max(wx + b, 0)")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="size (square feet)", ylabel="price (thousand dollars)")
    ax.set_title("Figure 1: prices with a kink (synthetic houses)")
    return with_legend(ax)


def loss_curve(
    steps: Num[ArrayLike, " k"],
    losses: Mapping[str, Float[ArrayLike, " k"]],
    *,
    ax: Axes | None = None,
) -> Axes:
    """The cost J(theta) (1.2) during training, on a logarithmic axis.

    Args:
        steps: numbers of iterations, shape (k,).
        losses: one or more curves of shape (k,), by the names of their data. If a value is not
            positive, the axis is linear.
        ax: where to draw.

    Raises:
        ValueError: for no curves, or a curve that differs from steps in shape.

    >>> ax = loss_curve(np.array([0, 100]), {"training": np.array([0.5, 0.1])})
    >>> ax.lines[0].get_ydata().tolist(), ax.get_yscale()
    ([0.5, 0.1], 'log')
    """
    curves = series(steps, losses)
    ax = axes(ax)
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for name, x, y, color, _ in curves:
        ax.plot(x, y, color=color, marker=dot(y), label=name)
    ax.set(xlabel="iterations", ylabel=r"cost $J(\theta)$", title="Training")
    if ax.dataLim.y0 > 0:  # of all that is drawn and finite
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        plain = StrMethodFormatter("{x:g}")
        ax.yaxis.set_major_formatter(plain)
        # within a decade or two, ticks between the powers of ten need their numbers too
        between = LogLocator(subs=range(2, 10) if high < 10 * low else (2, 5))
        ax.yaxis.set_minor_locator(between)
        ax.yaxis.set_minor_formatter(plain if high < 300 * low else NullFormatter())
    return with_legend(ax)


def history(history: History, *, ax: Axes | None = None) -> Axes:
    """The losses of `fit` or `sweep` during training, on the training and the validation set.

    A sweep has a thin line for each member, which ends where the member diverges, and a thick line
    for their median, which ends where half of them have diverged. The axis is linear if a loss is
    not positive.

    Args:
        history: from the result of `fit` or `sweep`.
        ax: where to draw.

    Raises:
        ValueError: if no loss is finite.

    >>> step, nothing = np.array([0.0, 100.0]), np.full(2, np.nan)
    >>> one = History(step, np.array([0.5, 0.1]), nothing, nothing, nothing)
    >>> ax = history(one)
    >>> [line.get_label() for line in ax.lines]
    ['training']
    """
    check_type("history", history, History, "the history of fit or sweep")
    losses = {"training": history.loss, "validation": history.validation_loss}
    losses = {name: loss for name, loss in losses.items() if np.isfinite(loss).any()}
    curves = series(
        history.step,
        {name: median(loss) if loss.ndim > 1 else loss for name, loss in losses.items()},
    )
    ax = axes(ax)
    for name, step, _, color, _ in curves:
        if losses[name].ndim > 1:
            faint = min(0.4, 20 / losses[name].shape[1])  # so that the median shows among many
            thin: Any = {"linewidth": 0.6, "marker": dot(losses[name]), "markersize": 2}
            ax.plot(step, losses[name], color=color, alpha=faint, **thin)
    return loss_curve(history.step, {name: y for name, _, y, *_ in curves}, ax=ax)


def median(loss: np.ndarray) -> np.ndarray:
    """The median over members, the last axis; NaN, of a member that diverged, counts as largest.

    >>> median(np.array([[1.0, 3.0, np.nan], [1.0, np.nan, np.nan]])).tolist()
    [3.0, nan]
    """
    middle = np.median(np.where(np.isnan(loss), np.inf, loss), axis=-1)
    return np.where(np.isfinite(middle), middle, np.nan)


def prediction(
    truth: Float[ArrayLike, " n"],
    predictions: Mapping[str, Float[ArrayLike, " n"]],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Predicted prices against true ones; a perfect prediction is on the diagonal.

    Args:
        truth: in dollars, shape (n,).
        predictions: one or more arrays by the names of their models; in dollars, shape (n,).
        ax: where to draw.

    Raises:
        ValueError: for no predictions, or predictions that differ from the truth in shape.

    >>> ax = prediction(np.array([3e5]), {"network": np.array([2.5e5])})
    >>> ax.collections[0].get_offsets().tolist()
    [[300.0, 250.0]]
    """
    clouds = series(truth, predictions)
    ax = axes(ax)
    for name, x, y, color, marker in clouds:
        ax.scatter(x / 1e3, y / 1e3, s=18, color=color, marker=marker, alpha=0.7, label=name)
    ax.axline((0, 0), slope=1, color="black", linewidth=0.8)
    ax.set(xlabel="price (thousand dollars)", ylabel="predicted price (thousand dollars)")
    ax.set_title("Houses held out of training")
    return with_legend(ax)
