"""What shapes leave open: settled by names, targets, the loss or gradient returned, or asked."""

import jax.numpy as jnp
import numpy as np
import pytest
from support.correct_candidates import LAYOUTS, ReLU, cost, counted, data, in_layout, network

from fcnet.verify.binding import bind

SQUARE = (3, 3, 3)
N = 5


@pytest.mark.parametrize("loss", ["first", "last"])
@pytest.mark.parametrize("name", ["pairs", "in, out"])
def test_the_loss_settles_square_layers(name, loss):
    X, Y = data(N, SQUARE)
    params = LAYOUTS[name].write(network(SQUARE))
    function, count = counted(in_layout(name, loss=loss))
    candidate = bind(function, params, X, Y, ReLU, batched=True)
    assert candidate.layout.transposed == (name == "in, out")
    assert count.calls == 1


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("name", ["names", "list of dicts"])
def test_the_loss_settles_layers_and_examples_at_once(name, columns):
    X, Y = data(3, SQUARE)
    x, y = (X.T, Y.T) if columns else (X, Y)
    params = LAYOUTS[name].write(network(SQUARE))
    function = in_layout(name, columns=columns, loss="first")
    candidate = bind(function, params, x, y, ReLU, batched=True)
    assert candidate.layout.transposed == (name == "list of dicts")
    assert candidate.examples.axis == candidate.targets.axis == int(columns)
    np.testing.assert_array_equal(candidate.own.X, X)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("name", ["pairs", "in, out"])
@pytest.mark.parametrize("part", [1, -1, 0.5])
def test_the_gradient_settles_both_without_a_loss(name, columns, part):
    X, Y = data(3, SQUARE)
    x, y = (X.T, Y.T) if columns else (X, Y)
    backward = in_layout(name, columns=columns)

    def wrong(params, x, y):
        (W1, b1), *above = backward(params, x, y)
        return [(part * W1, part * b1), *above]

    candidate = bind(wrong, LAYOUTS[name].write(network(SQUARE)), x, y, ReLU, batched=True)
    assert candidate.layout.transposed == (name == "in, out")
    assert candidate.examples.axis == int(columns)


def test_a_wrong_loss_settles_nothing():
    X, Y = data(3, SQUARE)

    def backward(params, X, Y):
        return 3.0, in_layout("pairs")(params, X, Y)

    candidate = bind(backward, network(SQUARE), X, Y, ReLU, batched=True)
    assert (candidate.layout.transposed, candidate.examples.axis) == (False, 0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_is_compared_in_its_own_reduction(reduction):
    X, Y = data(N, SQUARE)

    def backward(params, X, Y):
        loss, result = in_layout("pairs", loss="first")(params, X, Y)
        return (len(X) if reduction == "sum" else 1) * loss, result

    choice = ReLU._replace(reduction=reduction)
    candidate = bind(backward, network(SQUARE), X, Y, choice, batched=True)
    assert candidate.layout.transposed is False


@pytest.mark.parametrize(("keyword", "expected"), [("out_in", False), ("in_out", True)])
def test_a_keyword_settles_square_layers(keyword, expected):
    X, Y = data(N, SQUARE)
    function, count = counted(in_layout("pairs"))
    candidate = bind(function, network(SQUARE), X, Y, ReLU, batched=True, weight_layout=keyword)
    assert candidate.layout.transposed == expected
    assert not count.calls


@pytest.mark.parametrize(("keyword", "axis"), [("rows", 0), ("columns", 1)])
def test_a_keyword_settles_as_many_examples_as_inputs(keyword, axis):
    sizes = (4, 3, 1)
    X, Y = data(4, sizes)
    function = in_layout("pairs")
    candidate = bind(function, network(sizes), X, Y[:, 0], ReLU, batched=True, example_axis=keyword)
    assert candidate.examples.axis == axis
    np.testing.assert_array_equal(candidate.own.X, X.T if axis else X)


def test_the_targets_settle_as_many_examples_as_inputs():
    X, Y = data(4)
    for y, axis in ((Y, 0), (Y.T, 1)):
        candidate = bind(in_layout("pairs"), network(), X, y, ReLU, batched=True)
        assert candidate.examples.axis == axis


def test_a_loss_that_refuses_the_targets_settles_too():
    sizes = (3, 4, 3)
    X, Y = data(3, sizes)[0], np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    choice = cost(loss="softmax_cross_entropy")
    candidate = bind(in_layout("pairs"), network(sizes), X, Y, choice, batched=True)
    assert candidate.examples.axis == 0


def square(**changes):
    X, Y = data(3, SQUARE)
    arguments = {"function": in_layout("pairs"), "params": network(SQUARE), "x": X, "y": Y}
    arguments |= {"cost": ReLU, "batched": True} | changes
    return bind(**arguments)


def oblong(**changes):
    X, Y = data(N)
    return square(**{"params": network(), "x": X, "y": Y} | changes)


def single(**changes):
    X, Y = data(1)
    return oblong(**{"x": X[0], "y": Y[0], "batched": False} | changes)


def softmax(y):
    return {"y": y, "cost": cost(loss="softmax_cross_entropy")}


def zero(params, X, Y):
    """A gradient that fits every layout, or none."""
    return 3.0, [(0 * W, 0 * b) for W, b in params]


SILENT = {"function": zero}


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("call", "changes", "error", "words"),
    [
        (square, SILENT, ValueError, "give weight_layout='out_in'.*give example_axis='rows' or"),
        (square, SILENT | {"weight_layout": "out_in"}, ValueError, "open; there are as many exa"),
        (square, SILENT | {"example_axis": "rows"}, ValueError, "open; every layer.*a W [+] b$"),
        (square, {"weight_layout": "rows"}, ValueError, "must be 'out_in' or 'in_out', got 'rows'"),
        (oblong, {"weight_layout": "in_out"}, ValueError, "read with weight_layout='in_out'"),
        (oblong, {"example_axis": "columns"}, ValueError, "read with .*example_axis='columns'"),
        (oblong, {"batched": False}, ValueError, r"x has shape \(5, 4\).*give batched=True"),
        (single, {"batched": True}, ValueError, r"x has shape \(4,\).*leave out batched=True"),
        (oblong, {"y": data(6)[1]}, ValueError, r"y \(6, 2\); expected n examples as rows"),
        (oblong, softmax(np.array([0, 1, 2, 0, 1])), ValueError, "or class labels 0..1"),
        (oblong, softmax(np.full((N, 2), 0.7)), ValueError, r"y\[0\] must be a distribution over"),
        (single, {"x": np.array([1.0, np.nan, 0, 0])}, ValueError, "x must be finite, got nan"),
        (single, {"y": jnp.array([1.0, jnp.inf])}, ValueError, "y must be finite, got inf"),
        (single, {"params": [(np.ones((2, 4)), np.array([0, np.inf]))]}, ValueError,
         r"params\[0\].b must be finite"),
        (single, {"x": "1, 2, 3, 4"}, TypeError, "x must be an array of NumPy, JAX or PyTorch"),
        (single, {"y": None}, TypeError, "y must be an array.*NoneType"),
        (single, {"function": None}, TypeError, "backward must be a function"),
    ],
)  # fmt: skip
def test_what_stays_open_or_does_not_fit_is_an_error(call, changes, error, words):
    with pytest.raises(error, match=words):
        call(**changes)


def test_the_same_calls_without_the_mistake():
    assert square(weight_layout="in_out", example_axis="columns").layout.transposed
    assert oblong(weight_layout="out_in", example_axis="rows").own.X.shape == (N, 4)
    assert single().own.X.shape == (1, 4)
    assert oblong(**softmax(np.array([0, 1, 1, 0, 1]))).targets.classes == 2
