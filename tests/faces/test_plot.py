"""Figures say what they are given: read back from what was drawn, and drawn by matplotlib."""

import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from fcnet import data, notes, plot
from fcnet.network import init
from fcnet.plot.canvas import BLUE, ORANGE
from fcnet.types import Layer, Params

Edge = tuple[str, str]


def edges(ax: Axes) -> dict[Edge, tuple[float, str]]:
    """The drawn lines by the names of the circles they join, with their widths and colours."""
    centres = [patch.get_center() for patch in ax.patches]
    names = dict(zip(centres, [text.get_text() for text in ax.texts], strict=True))
    return {
        (names[(x[0], y[0])], names[(x[1], y[1])]): (line.get_linewidth(), to_hex(line.get_color()))
        for line in ax.lines
        for x, y in [line.get_data()]
        if len(x)
    }


@pytest.mark.notes("Figure 1", "(2.1)")
def test_figure_1_is_flat_up_to_the_kink_and_straight_after_it(ax: Axes, key: jax.Array) -> None:
    houses = data.kinked_prices(key)
    plot.kink(houses.X[:, 0], houses.Y[:, 0], 150.0, -135_000.0, ax=ax)
    straight, neuron, _ = ax.lines
    x, y = neuron.get_data()
    assert (y[x < 890] == 0).all()
    np.testing.assert_allclose(np.diff(y[x > 910]) / np.diff(x[x > 910]), 0.150, rtol=1e-3)
    assert np.asarray(straight.get_ydata()).min() < 0
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.hstack([houses.X, houses.Y / 1e3]))
    assert "synthetic" in ax.get_title()


@pytest.mark.notes("Figure 2", "(2.3)")
def test_figure_2_joins_what_the_notes_join_and_nothing_else(ax: Axes) -> None:
    plot.house_network(ax=ax)
    wired = {(source, unit) for unit, sources in notes.EDGES.items() for source in sources}
    heads = {(unit, "price") for unit in notes.EDGES}
    assert set(edges(ax)) == wired | heads
    assert len(wired) == 5


@pytest.mark.notes("Figure 3", "(2.12)")
def test_figure_3_shows_every_weight_by_width_and_colour(ax: Axes, key: jax.Array) -> None:
    params = init(key, (4, 3, 1))
    plot.network(params, ax=ax)
    drawn = edges(ax)
    assert len(drawn) == 4 * 3 + 3
    W = np.asarray(params[0].W)
    for (j, i), weight in np.ndenumerate(W):
        width, color = drawn[f"$x_{{{i + 1}}}$", f"$a_{{{j + 1}}}^{{[1]}}$"]
        assert width == pytest.approx(0.5 + 3 * abs(weight) / abs(W).max())
        assert color == (BLUE if weight > 0 else ORANGE).lower()


def test_a_weight_of_zero_has_no_line_and_a_square_layer_is_not_transposed(ax: Axes) -> None:
    params = (Layer(jnp.array([[1.0, 0.0], [-2.0, 3.0]]), jnp.zeros(2)),)
    plot.network(params, [["p", "q"], ["s", "t"]], ax=ax)
    assert set(edges(ax)) == {("p", "s"), ("p", "t"), ("q", "t")}
    assert edges(ax)["p", "t"][1] == ORANGE.lower()


def test_deep_networks_and_single_units_can_be_drawn(ax: Axes, key: jax.Array) -> None:
    plot.network(init(key, (1, 5, 1, 7, 2)), ax=ax)
    assert len(ax.patches) == 1 + 5 + 1 + 7 + 2


@pytest.mark.notes("(1.2)")
def test_a_loss_curve_shows_its_losses_on_a_logarithmic_axis(ax: Axes) -> None:
    steps, losses = np.array([0, 100, 200]), np.array([1.0, 0.1, 0.05])
    plot.loss_curve(steps, {"training": losses, "held out": 2 * losses}, ax=ax)
    assert ax.get_yscale() == "log"
    assert [line.get_label() for line in ax.lines] == ["training", "held out"]
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), np.column_stack([steps, 2 * losses]))


def test_predictions_stand_above_the_truth_they_are_of(ax: Axes) -> None:
    truth, guess = np.array([100e3, 300e3]), np.array([150e3, 250e3])
    plot.prediction(truth, {"network": guess}, ax=ax)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[100, 150], [300, 250]])
    assert "thousand dollars" in ax.get_xlabel()
    assert "thousand dollars" in ax.get_ylabel()


@pytest.mark.notes("Algorithm 5")
def test_agreement_shows_each_error_in_its_row_and_layer(ax: Axes) -> None:
    rows = {"right": [(1e-16, 0.0), (2e-16, 3e-16)], "wrong": [(0.5, 0.25), (1e-16, 1e-16)]}
    plot.agreement(rows, ax=ax)
    (image,) = ax.images
    np.testing.assert_allclose(
        image.get_array(), [[1e-16, 1e-17, 2e-16, 3e-16], [0.5, 0.25, 1e-16, 1e-16]]
    )
    assert [text.get_text() for text in ax.texts][:3] == ["1e-16", "0", "2e-16"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["right", "wrong"]
    assert ax.get_xticklabels()[2].get_text() == "$W^{[2]}$"


def test_without_axes_a_figure_of_pyplot_is_made() -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    drawn = plot.house_network()
    assert plt.get_fignums() == [drawn.figure.number]
    plt.close("all")


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fcnet\[plot\]'"):
        plot.house_network()


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: plot.network(p, [["a"], ["b"]]),
            r"\[1, 1\] entries for the layers, expected \[2, 1\]",
        ),
        (lambda p: plot.network([(p[0].W, p[0].b, 0)]), "must be a pair"),
        (lambda p: plot.network([(np.nan * p[0].W, p[0].b)]), r"params\[0\].W must be finite"),
        (lambda p: plot.loss_curve(np.arange(3), {}), "at least one named series"),
        (lambda p: plot.loss_curve(np.arange(3), {"a": np.ones(2)}), "expected values of shape"),
        (lambda p: plot.prediction(np.ones((3, 1)), {"a": np.ones(3)}), "expected values of shape"),
        (lambda p: plot.kink(np.ones(3), np.ones(2), 1.0, 0.0), "expected values of shape"),
        (lambda p: plot.agreement({}), "one or more rows"),
        (lambda p: plot.agreement({"a": [(1, 1)], "b": [(1, 1)] * 2}), "same number of layers"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[Params], object], message: str) -> None:
    params = (Layer(jnp.ones((1, 2)), jnp.zeros(1)),)
    with pytest.raises((ValueError, TypeError), match=message):
        call(params)
