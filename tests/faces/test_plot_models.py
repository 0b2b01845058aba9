"""Figures of networks at work: what is drawn is what the package computes, number for number."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fcnet
from fcnet import plot
from fcnet.plot.canvas import BLUE, ORANGE
from fcnet.train.types import History
from fcnet.types import Layer, Params

pytestmark = pytest.mark.usefixtures("exact_products")

RELATIVE = 1e-5  # of float32


def line(ax: Axes, label: str) -> np.ndarray:
    """The points of the line of this name."""
    (found,) = (line for line in ax.lines if line.get_label() == label)
    return np.asarray(found.get_xydata())


def by_color(ax: Axes) -> dict[str, np.ndarray]:
    """The ends of the vertical lines of each colour, as rows (x, low, high)."""
    lines = [line for line in ax.lines if line.get_label() in ("unit", "dead unit")]
    ends = {line.get_color().lower(): line.get_xydata().reshape(-1, 3, 2) for line in lines}
    return {color: np.c_[xy[:, 0], xy[:, 1, 1]] for color, xy in ends.items()}


@pytest.mark.notes("(2.13)")
def test_pre_activations_reach_from_the_least_to_the_largest_of_each_unit(
    ax: Axes, key: jax.Array
) -> None:
    params, X = fcnet.init(key, (2, 5, 3, 1)), jax.random.normal(key, (11, 2))
    plot.pre_activations(params, X, ax=ax)
    z = [jax.vmap(lambda x, k=k: fcnet.forward_trace(params, x).z[k])(X) for k in range(3)]
    drawn = by_color(ax)
    spans = np.vstack(list(drawn.values()))
    spans = spans[np.argsort(spans[:, 0])]
    layers = np.split(spans, [5, 8])
    medians = np.vstack([dots.get_xydata() for dots in ax.lines if dots.get_marker() == "o"])
    medians = medians[np.argsort(medians[:, 0])]
    np.testing.assert_allclose(medians[:, 0], spans[:, 0])
    for k, (rows, z_k, dots) in enumerate(
        zip(layers, z, np.split(medians, [5, 8]), strict=True), start=1
    ):
        order = np.argsort(z_k.max(axis=0))
        np.testing.assert_allclose(rows[:, 2], np.max(z_k, axis=0)[order], rtol=RELATIVE)
        np.testing.assert_allclose(rows[:, 1], np.min(z_k, axis=0)[order], rtol=RELATIVE)
        np.testing.assert_allclose(dots[:, 1], np.median(z_k, axis=0)[order], rtol=RELATIVE)
        assert (abs(rows[:, 0] - k) < 0.5).all()


def test_no_line_runs_through_the_legend(ax: Axes) -> None:
    hidden, last = Layer(jnp.eye(8), jnp.zeros(8)), Layer(jnp.ones((1, 8)), jnp.zeros(1))
    X = jnp.ones((2, 8)) * jnp.array([[1.0], [2.0]])
    plot.pre_activations((hidden, last), X, ax=ax)  # z^[2], at the right, reaches to the top
    ax.figure.draw_without_rendering()
    ends = ax.transData.transform(by_color(ax)[BLUE.lower()][:, [0, 2]])
    assert ends[:, 1].max() == ends[-1, 1]
    legend = ax.get_legend().get_window_extent()
    assert legend.count_contains(ends) == 0
    assert legend.y0 < ends[-1, 1] < legend.y1  # it stands elsewhere at the same height


@pytest.mark.parametrize(
    ("weight", "bias", "activation", "dead"),
    [
        (1.0, -9.0, "relu", 1),
        (1.0, -0.5, "relu", 0),
        (0.0, 0.0, "relu", 0),  # the slope at 0 is 1
        (1.0, -9.0, "leaky_relu", 0),
    ],
)
def test_a_unit_is_dead_where_no_example_has_a_slope(
    ax: Axes, weight: float, bias: float, activation: str, dead: int
) -> None:
    hidden = Layer(jnp.array([[-1.0], [weight]]), jnp.array([2.0, bias]))
    params = (hidden, Layer(jnp.ones((1, 2)), jnp.zeros(1)))
    X = jnp.array([[0.0], [1.0], [-1.0]])
    plot.pre_activations(params, X, activation=activation, ax=ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        f"$z^{{[1]}}$\n{dead} of 2", "$z^{[2]}$\n0 of 1"
    ]  # fmt: skip
    lost = by_color(ax).get(ORANGE.lower(), np.empty((0, 3)))
    np.testing.assert_allclose(lost[:, 1:], np.tile([bias - 1, bias + 1], (dead, 1)))
    assert len(by_color(ax)[BLUE.lower()]) == 3 - dead


def asymmetric(x: jax.Array) -> Params:
    """The network o = x (3 z_1 + z_2 - 1) where z is its input."""
    return (Layer(jnp.array([[3.0, 1.0]]) * x, jnp.array([-1.0]) * x),)


def test_a_surface_has_the_output_at_each_of_its_points(ax: Axes, key: jax.Array) -> None:
    X = jax.random.uniform(key, (9, 2)) * jnp.array([1.0, 10.0])
    Y = X[:, :1]
    plot.surface(asymmetric(jnp.array(1.0)), X, Y, level=2.0, ax=ax)
    mesh, contour, points = ax.collections
    corners = mesh.get_coordinates()
    centres = (corners[1:, 1:] + corners[:-1, :-1]) / 2
    expected = centres @ [3.0, 1.0] - 1
    np.testing.assert_allclose(mesh.get_array(), expected, atol=RELATIVE * abs(expected).max())
    on_line = np.vstack([path.vertices for path in contour.get_paths()])
    np.testing.assert_allclose(on_line @ [3.0, 1.0] - 1, 2.0, rtol=1e-3)
    np.testing.assert_array_equal(points.get_offsets(), X)
    np.testing.assert_array_equal(points.get_array(), Y[:, 0])
    assert mesh.get_clim() == points.get_clim() == (Y.min(), Y.max())
    assert (corners.min(axis=(0, 1)) < X.min(axis=0)).all()
    assert (corners.max(axis=(0, 1)) > X.max(axis=0)).all()


def test_surfaces_share_their_scale_and_each_shows_its_network(key: jax.Array) -> None:
    figure = Figure(layout="constrained")
    X = jax.random.normal(key, (7, 2))
    networks = {f"step {x}": asymmetric(jnp.array(float(x))) for x in (1, 2)}
    axes = list(figure.subplots(1, 2))
    drawn = plot.surfaces(networks, X, X[:, :1], output_activation="tanh", ax=axes)
    figure.canvas.draw()
    assert [ax.get_title() for ax in drawn] == ["step 1", "step 2"]
    first, second = (ax.collections[0] for ax in drawn)
    assert first.get_clim() == second.get_clim()
    np.testing.assert_allclose(
        np.arctanh(second.get_array()[55:65, 55:65]),
        2 * np.arctanh(first.get_array()[55:65, 55:65]),
        rtol=1e-2,
    )
    assert len(figure.axes) == 3  # one bar of colours for both


def test_gradient_norms_are_those_of_each_example_alone(ax: Axes, key: jax.Array) -> None:
    keys = jax.random.split(key, 4)
    networks = {name: fcnet.init(k, (3, 4, 2)) for name, k in zip("ab", keys, strict=False)}
    X, Y = jax.random.normal(keys[2], (8, 3)), jax.random.normal(keys[3], (8, 2))
    plot.gradient_norms(networks, X, Y, activation="tanh", ax=ax)
    dotted = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    for (name, params), mean in zip(networks.items(), dotted, strict=True):

        def cost(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
            return fcnet.example_loss(p, x, y, activation="tanh")

        gradients = [jax.grad(cost)(params, x, y) for x, y in zip(X, Y, strict=True)]
        norms = [np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(g))) for g in gradients]
        drawn = line(ax, name)
        np.testing.assert_allclose(drawn[:, 0], np.sort(norms), rtol=RELATIVE)
        np.testing.assert_allclose(drawn[:, 1], np.arange(1, 9) / 8)
        total = jax.tree.map(lambda *leaves: sum(leaves) / 8, *gradients)
        np.testing.assert_allclose(mean.get_xdata(), float(optax.tree.norm(total)), rtol=1e-4)
    assert ax.get_xscale() == "log"


def test_gradients_of_zero_are_counted_where_the_curve_begins(ax: Axes) -> None:
    params = (Layer(jnp.array([[2.0]]), jnp.array([1.0])),)
    X, Y = jnp.array([[3.0], [0.0]]), jnp.array([[4.0], [1.0]])  # o = 7 and 1: errors 3 and 0
    plot.gradient_norms({"a": params}, X, Y, ax=ax)
    np.testing.assert_allclose(line(ax, "a"), [[0.0, 0.5], [np.sqrt(90), 1.0]], rtol=RELATIVE)


@pytest.mark.filterwarnings("error")
def test_gradients_that_are_all_zero_are_told_in_the_legend(ax: Axes) -> None:
    params, X = (Layer(jnp.array([[2.0]]), jnp.array([1.0])),), jnp.array([[3.0], [0.0]])
    plot.gradient_norms({"fitted": params, "off": (Layer(params[0].W, jnp.array([2.0])),)},
                        X, 2 * X + 1, ax=ax)  # fmt: skip
    assert not line(ax, "fitted: all are 0").size
    np.testing.assert_allclose(line(ax, "off")[:, 0], [1.0, np.sqrt(10)], rtol=RELATIVE)


def stacked(slopes: list[float]) -> Params:
    """Networks o = slope x_2 + x_1, one for each slope."""
    W = jnp.stack([jnp.array([[1.0, slope]]) for slope in slopes])
    return (Layer(W, jnp.zeros((len(slopes), 1))),)


def test_an_ensemble_is_drawn_along_one_input_with_its_members_and_its_spread(ax: Axes) -> None:
    X, Y = jnp.array([[5.0, -1.0], [7.0, 3.0]]), jnp.array([[0.5], [0.25]])
    params = stacked([1.0, 3.0, jnp.nan])
    plot.ensemble_band(params, X, Y, along=1, ax=ax)
    members, _, mean = (np.asarray(drawn.get_xydata()) for drawn in ax.lines)
    grid = mean[:, 0]
    assert (grid.min(), grid.max()) == (-2.0, 4.0)
    np.testing.assert_allclose(members[:, 1], grid + 6, rtol=RELATIVE)
    np.testing.assert_allclose(mean[:, 1], 2 * grid + 6, rtol=RELATIVE)
    points, band = ax.collections
    edge = band.get_paths()[0].vertices
    for sign in (-1, 1):  # the spread of slopes 1 and 3 is |x|
        expected = np.column_stack([grid, 2 * grid + 6 + sign * 2 * abs(grid)])
        assert (abs(edge[:, None] - expected).max(axis=-1).min(axis=0) < 1e-5).all()
    np.testing.assert_array_equal(points.get_offsets(), [[-1.0, 0.5], [3.0, 0.25]])
    assert ax.lines[0].get_label() == "2 members"


def test_an_ensemble_without_disagreement_has_no_band(ax: Axes) -> None:
    plot.ensemble_band(stacked([2.0, 2.0]), jnp.eye(2), jnp.ones((2, 1)), ax=ax)
    edge = ax.collections[1].get_paths()[0].vertices
    np.testing.assert_allclose(edge[:, 1], edge[:, 0] + 1.0, rtol=RELATIVE)  # x_2 is held at 1/2


def history(loss: np.ndarray, validation: np.ndarray) -> History:
    return History(10 * np.arange(len(loss)), loss, loss, validation, validation)


def test_the_history_of_a_fit_shows_the_losses_that_it_has(ax: Axes) -> None:
    loss, none = np.array([4.0, 2.0, 1.0]), np.full(3, np.nan)
    plot.history(history(loss, none), ax=ax)
    assert [drawn.get_label() for drawn in ax.lines] == ["training"]
    np.testing.assert_array_equal(line(ax, "training"), [[0, 4], [10, 2], [20, 1]])
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize("loss", [np.array([2.0]), np.array([2.0, np.nan])])
def test_a_single_point_is_a_dot_since_a_line_does_not_show_it(ax: Axes, loss: np.ndarray) -> None:
    plot.history(history(loss, np.full(len(loss), np.nan)), ax=ax)
    plot.history(history(loss[:, None], np.full((len(loss), 1), np.nan)), ax=ax)
    plot.gradient_norms({"one": asymmetric(jnp.array(1.0))}, TWO[:1], ONE[:1] + 1, ax=ax)
    lines = [drawn for drawn in ax.lines if np.isfinite(drawn.get_ydata()).sum() == 1]
    assert [drawn.get_marker() for drawn in lines] == ["o"] * 4


def test_examples_of_which_all_are_equal_have_a_range_around_them(ax: Axes) -> None:
    X, Y = jnp.array([[2.0, 0.0], [2.0, 0.5]]), jnp.array([[1.0], [2.0]])
    plot.surface(asymmetric(jnp.array(1.0)), X, Y, ax=ax)
    assert np.ptp(ax.collections[0].get_coordinates()[..., 0]) == pytest.approx(0.2, rel=0.02)
    plot.ensemble_band(stacked([1.0, 3.0]), X, Y, ax=(other := Figure().subplots()))
    mean = other.lines[-1].get_xdata()
    assert (mean.min(), mean.max()) == (1.5, 2.5)


def test_losses_that_are_not_positive_have_a_linear_axis(ax: Axes) -> None:
    plot.history(history(np.array([1.0, -1.0]), np.array([2.0, 1.0])), ax=ax)
    assert ax.get_yscale() == "linear"
    np.testing.assert_array_equal(line(ax, "validation"), [[0, 2], [10, 1]])


def test_losses_of_which_none_is_positive_are_drawn(ax: Axes) -> None:
    plot.loss_curve(np.arange(2), {"a": np.array([-1.0, -2.0])}, ax=ax)
    assert ax.get_yscale() == "linear"
    np.testing.assert_array_equal(line(ax, "a"), [[0, -1], [1, -2]])


def test_the_history_of_a_sweep_shows_each_member_and_their_median(ax: Axes) -> None:
    loss = np.array([[1.0, 2.0, 9.0], [1.0, 4.0, np.nan], [1.0, np.nan, np.nan]])
    plot.history(history(loss, np.full((3, 3), np.nan)), ax=ax)
    *members, median = (np.asarray(drawn.get_ydata()) for drawn in ax.lines)
    np.testing.assert_array_equal(np.column_stack(members), loss)
    np.testing.assert_array_equal(median, [2.0, 4.0, np.nan])


def test_the_histories_of_the_trainer_can_be_drawn(ax: Axes, key: jax.Array) -> None:
    params, X = fcnet.init(key, (1, 1)), jnp.linspace(-1, 1, 8)[:, None]
    result = fcnet.sweep(
        params, X, X, key=jax.random.split(key, 3), batch_size=4, steps=20, evaluate_every=5,
        optimizer="sgd", hyperparameters={"learning_rate": 0.1}, validation=(X, X),
    )  # fmt: skip
    plot.history(result.history, ax=ax)
    assert len(ax.lines) == 2 * 3 + 2
    drawn = line(ax, "validation")
    np.testing.assert_array_equal(drawn[:, 0], [0, 5, 10, 15, 20])
    np.testing.assert_allclose(drawn[:, 1], np.median(result.history.validation_loss, axis=1))


def test_without_axes_figures_of_pyplot_are_made(key: jax.Array) -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    X = jax.random.normal(key, (7, 2))
    panels = plot.surfaces({"a": asymmetric(jnp.array(1.0))}, X, X[:, :1])
    single = plot.pre_activations(fcnet.init(key, (2, 3, 1)), X)
    assert plt.get_fignums() == [panels[0].figure.number, single.figure.number]
    plt.close("all")


ONE, TWO = jnp.ones((3, 1)), jnp.ones((3, 2))


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: plot.surface(p, ONE, ONE), r"X has shape \(3, 1\), expected \(n, 2\)"),
        (lambda p: plot.surface(p, TWO, TWO), r"Y has shape \(3, 2\), expected \(n, 1\)"),
        (lambda p: plot.surface(p, TWO, ONE[:2]), "X has 3 examples but Y has 2"),
        (lambda p: plot.surface([(ONE, ONE[:, 0])], TWO, ONE), "1 inputs and 3 outputs"),
        (lambda p: plot.surfaces({}, TWO, ONE), "at least one named network"),
        (lambda p: plot.surfaces({"a": p}, TWO, ONE, ax=[]), "got 0 axes for 1 networks"),
        (lambda p: plot.gradient_norms({}, TWO, ONE), "at least one named series"),
        (lambda p: plot.gradient_norms({"a": p}, TWO, ONE[:2]), "X has 3 examples but Y has 2"),
        (lambda p: plot.pre_activations(p, TWO[:0]), "X has no examples"),
        (lambda p: plot.pre_activations(p, TWO, activation="rely"), "unknown activation 'rely'"),
        (lambda p: plot.ensemble_band(p, TWO, ONE), "a leading axis of members"),
        (lambda p: plot.ensemble_band(stacked([1.0]), TWO, ONE, along=2), "between 0 and 1"),
        (lambda p: plot.ensemble_band(stacked([np.nan]), TWO, ONE), "no member has finite"),
        (lambda p: plot.history(history(np.array([np.nan]), np.array([np.nan]))), "at least one"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Callable[[Params], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call(asymmetric(jnp.array(1.0)))
