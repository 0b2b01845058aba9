"""A gradient among other results, and in a dict by the names of arguments.

| result | oracle |
|---|---|
| a dict by the names of some arguments | right; a wrong entry is the only wrong leaf |
| a gradient beside a loss, a cache, predictions | right, with a note on what was not judged |
| a wrong loss, or gradient, beside other results | found |
| a gradient that is one number | judged: neither the value nor left out |
| two entries that may be the gradient; what may be that of another argument | refused |
"""

from itertools import product
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from support.pairs import diagonal

import fcnet

pytestmark = pytest.mark.untyped

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 2))
W1, b1, W2, b2 = (RNG.normal(size=shape) for shape in ((3, 4), (3,), (2, 3), (2,)))


def loss_of(X, W1, b1, W2, b2):
    return jnp.mean(jnp.sum((jnp.tanh(X @ W1.T + b1) @ W2.T + b2 - Y) ** 2, 1)) / 2


def report_on(backward, of_network):
    """By `check` on backward(params, X, Y), or by `check_gradient`."""
    params = [W1, b1, W2, b2]
    if of_network:
        return fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    return fcnet.check_gradient(
        lambda params: backward(params, X, Y), lambda params: loss_of(X, *params), params
    )


def by_hand(X, Y, W1, b1, W2, b2, slip=1.0):
    """The loss, and the gradient by the names of the parameters; the slip scales that of W1."""
    a = np.tanh(X @ W1.T + b1)
    error = a @ W2.T + b2 - Y
    d2 = error / len(X)
    d1 = d2 @ W2 * (1 - a * a)
    gradient = {"W1": slip * d1.T @ X, "b1": d1.sum(0), "W2": d2.T @ a, "b2": d2.sum(0)}
    return np.mean(np.sum(error**2, 1)) / 2, gradient


STYLES = {
    "W1": str,
    "dW1": "d{}".format,
    "grad_W1": "grad_{}".format,
}
ORDERS = {"in order": 1, "backwards": -1}
BESIDE = {
    "nothing": lambda loss, gradient: gradient,
    "the loss": lambda loss, gradient: (loss, gradient),
    "the loss, inside": lambda loss, gradient: {**gradient, "cost": loss},
    "the loss, in a dict": lambda loss, gradient: {"loss": loss, "gradients": gradient},
}


@pytest.mark.parametrize("slip", [1.0, 1.01])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize(("style", "order"), [*zip(STYLES, [*ORDERS, "backwards"], strict=True)])
def test_a_dict_may_have_the_names_of_arguments(style, order, beside, slip):
    """X, the first argument, has no entry."""

    def gradient(X, W1, b1, W2, b2):
        loss, found = by_hand(X, Y, W1, b1, W2, b2, slip)
        names = list(found)[:: ORDERS[order]]
        return BESIDE[beside](loss, {STYLES[style](name): found[name] for name in names})

    report = fcnet.check_gradient(gradient, loss_of, X, W1, b1, W2, b2)
    assert report.ok == (slip == 1)
    judged = [leaf.path for leaf in report.leaves]
    assert judged == ["W1", "b1", "W2", "b2"] + ["value"] * (beside != "nothing")
    wrong = [leaf.path for leaf in report.leaves if leaf.error > leaf.tolerance]
    assert wrong == ["W1"] * (slip != 1)


def test_a_wrong_value_in_a_dict_is_found():
    def gradient(X, W1, b1, W2, b2):
        loss, found = by_hand(X, Y, W1, b1, W2, b2)
        return {**found, "cost": 2 * loss}

    report = fcnet.check_gradient(gradient, loss_of, X, W1, b1, W2, b2)
    assert [(f.quantity, f.kind) for f in report.findings] == [("J", "factor_2")]


@pytest.mark.parametrize("slip", [1.0, 1.01])
@pytest.mark.parametrize(
    ("others", "note"),
    [
        ({"dZ1": np.ones((6, 3)), "A1": np.ones((6, 3))}, "'dZ1', 'A1' of the result were"),
        ({"cache": {"Z1": np.ones((6, 3))}, "text": "tanh"}, "'cache', 'text' of the result were"),
        ({"none": None}, "'none' of the result was"),
        ({"loss": 0.5, "accuracy": 0.75}, "'loss', 'accuracy' of the result were"),
    ],
)
def test_a_dict_may_have_more_than_names_of_arguments(others, note, slip):
    """As the dicts of courses have, with dZ and dA; X has no gradient, and is of another shape."""

    def gradient(X, W1, b1, W2, b2):
        found = by_hand(X, Y, W1, b1, W2, b2, slip)[1]
        return {**{f"d{name}": array for name, array in found.items()}, **others}

    report = fcnet.check_gradient(gradient, loss_of, X, W1, b1, W2, b2)
    assert report.ok == (slip == 1)
    assert [leaf.path for leaf in report.leaves] == ["W1", "b1", "W2", "b2"]
    assert f"{note} not judged" in report.notes


DX = np.ones((6, 4))
"""Of the shape of X, whose gradient it may be."""

DOUBTFUL = {
    "an array of the shape of X": (lambda g: {**g, "dA0": DX}, "'dA0'"),
    "X in another style": (lambda g: {**g, "grad_X": np.ones(2)}, "'grad_X'"),
    "X in a dict beside": (lambda g: (g, {"dX": DX, "dZ1": np.ones(3)}), "entries 0, 1"),
    "X in a list beside": (lambda g: (g, [DX]), "entries 0, 1"),
    "a wrong name": (lambda g: {"dW1": g["dW1"], "db3": g["db2"]}, "'db3'"),
    "two styles": (lambda g: {"W1": g["dW1"], "dW2": g["dW2"]}, "'W1'"),
    "all in a dict of another name": (
        lambda g: {
            "A1": np.ones((6, 3)),
            "grads": {f"{key}_bar": array for key, array in g.items()},
        },
        "'A1', 'grads'",
    ),
    "that of X beside": (lambda g: (DX, g), "entries 0, 1"),
    "that of X beside, with the loss": (lambda g: (0.5, DX, g), "entries 1, 2"),
    "those of the others in a tuple": (lambda g: (DX, tuple(g.values())), "entries 0, 1"),
}
"""Results that hold gradients of X and of others, not all in one dict or tuple."""


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_may_be_the_gradient_of_another_argument_is_not_left_out(name):
    result, words = DOUBTFUL[name]

    def gradient(X, W1, b1, W2, b2):
        found = by_hand(X, Y, W1, b1, W2, b2)[1]
        return result({f"d{key}": array for key, array in found.items()})

    report = fcnet.check_gradient(gradient, loss_of, X, W1, b1, W2, b2)
    assert [finding.kind for finding in report.findings] == ["wrong_structure"]
    may = "may each be" if ", " in words else "may be"
    says = f"{words} of the result {may} a gradient: leave out what is none"
    assert report.findings[0].message.endswith(says)
    assert "or a dict by the names of arguments, such as dX, dW1" in report.findings[0].message


@pytest.mark.parametrize("slip", [1.0, 1.01])
@pytest.mark.parametrize("cache", [{"X": X, "A1": np.ones((6, 3))}, [X, np.ones((6, 3))], (X, W1)])
def test_a_cache_with_an_argument_is_no_gradient_of_it(cache, slip):
    def gradient(X, W1, b1, W2, b2):
        a = np.tanh(X @ W1.T + b1)
        dX = ((a @ W2.T + b2 - Y) / len(X)) @ W2 * (1 - a * a) @ W1
        return (dX, *by_hand(X, Y, W1, b1, W2, b2, slip)[1].values()), cache

    report = fcnet.check_gradient(gradient, loss_of, X, W1, b1, W2, b2)
    assert report.ok == (slip == 1)
    assert [leaf.path for leaf in report.leaves] == ["X", "W1", "b1", "W2", "b2"]


def line(w, b):
    return jnp.mean((X @ w + b - Y[:, 0]) ** 2) / 2


def by_line(w, b):
    """The loss of a line, and its gradient, in which db is one number."""
    error = X @ w + b - Y[:, 0]
    return np.mean(error**2) / 2, X.T @ error / 6, error.mean()


NUMBERS = {
    "by names": lambda loss, dw, db: {"dw": dw, "db": db},
    "in another style": lambda loss, dw, db: {"dj_dw": dw, "dj_db": db},
    "with the loss": lambda loss, dw, db: {"cost": loss, "dw": dw, "db": db},
    "with two more numbers": lambda loss, dw, db: {"dw": dw, "db": db, "cost": loss, "R2": 0.5},
    "before a cache": lambda loss, dw, db: (dw, db, {"error": np.ones(6)}),
    "between a loss and a cache": lambda loss, dw, db: (loss, dw, db, [np.ones(6)]),
}


@pytest.mark.parametrize("slip", [1.0, 1.01])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_gradient_that_is_one_number_is_neither_left_out_nor_the_value(name, slip):
    def gradient(w, b):
        loss, dw, db = by_line(w, b)
        return NUMBERS[name](loss, dw, slip * db)

    report = fcnet.check_gradient(gradient, line, X[0], 0.7)
    assert report.ok == (slip == 1)
    wrong = [leaf.path for leaf in report.leaves if leaf.error > leaf.tolerance]
    assert wrong == ["b"] * (slip != 1)


def test_a_loss_under_the_name_of_a_gradient_is_wrong():
    def gradient(w, b):
        loss, dw, _ = by_line(w, b)
        return {"dw": dw, "db": loss}

    report = fcnet.check_gradient(gradient, line, X[0], 0.7)
    assert [leaf.path for leaf in report.leaves if leaf.error > leaf.tolerance] == ["b"]


@pytest.mark.parametrize("of_network", [True, False])
def test_a_lone_number_in_a_dict_of_gradients_is_the_loss(of_network):
    def backward(params, X, Y):
        loss, found = by_hand(X, Y, *params.values())
        return {**{f"d{name}": array for name, array in found.items()}, "loss": 2 * loss}

    params = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
    if of_network:
        report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    else:
        report = fcnet.check_gradient(
            lambda params: backward(params, X, Y),
            lambda params: loss_of(X, *params.values()),
            params,
        )
    assert [finding.quantity for finding in report.findings] == ["J"]


@pytest.mark.parametrize("others", [{"m": 6}, {"dZ2": np.ones((1, 1))}, {"vb2": np.ones(1)}])
def test_what_is_no_loss_in_a_dict_of_gradients_is_left_out(others):
    """A whole number, and what has the shape of one output of one example."""

    def backward(params, X, Y):
        found = by_hand(X, Y, *params.values())[1]
        return {**{f"d{name}": array for name, array in found.items()}, **others}

    params = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
    report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    assert report.ok
    assert f"{', '.join(map(repr, others))} of the result was not judged" in report.notes


@pytest.mark.parametrize("of_network", [True, False])
def test_the_gradient_stands_beside_the_parameter(of_network):
    """A dict with W1 and dW1, as of one layer that keeps both."""

    def backward(params, X, Y):
        found = by_hand(X, Y, *params.values())[1]
        return {**params, **{f"d{name}": array for name, array in found.items()}}

    params = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
    if of_network:
        report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    else:
        report = fcnet.check_gradient(
            lambda *arrays: backward(dict(zip(params, arrays, strict=True)), X, Y),
            lambda W1, b1, W2, b2: loss_of(X, W1, b1, W2, b2),
            *params.values(),
        )
    assert report.ok


@pytest.mark.parametrize("slip", [1.0, 1.01])
@pytest.mark.parametrize("means", [0, 1])
def test_a_key_may_be_the_name_of_one_argument_and_the_gradient_of_another(means, slip):
    """{"dW": array} for (W, dW): the one for which it is right, if it is."""

    def gradient(W, dW):
        return {"dW": slip * (np.cos(W) * dW, np.sin(W))[means]}

    report = fcnet.check_gradient(gradient, lambda W, dW: jnp.sum(jnp.sin(W) * dW), X[0], X[1])
    assert report.ok == (slip == 1)
    assert slip != 1 or [leaf.path for leaf in report.leaves] == [("W", "dW")[means]]


LISTS = {
    "a cache last": (lambda loss, grads: (grads, {"A1": np.ones((6, 3))}), "entry 1"),
    "a cache first": (lambda loss, grads: ([np.ones((6, 3)), np.ones(2)], grads), "entry 0"),
    "loss, gradient, cache": (lambda loss, grads: (loss, grads, {"A1": np.ones(3)}), "entry 2"),
    "a dict": (lambda loss, grads: {"loss": loss, "grads": grads}, ""),
    "a dict with nothing else": (lambda loss, grads: {"grads": grads}, ""),
    "a dict with a cache": (lambda loss, grads: {"c": [], "loss": loss, "grads": grads}, "'c'"),
    "two numbers": (lambda loss, grads: (loss, 0.75, grads), "entries 0, 1"),
    "two numbers, arrays": (lambda loss, grads: (loss, 0.75, *grads), "entries 0, 1"),
    "predictions": (lambda loss, grads: (np.ones((6, 2)), grads), "entry 0"),
    "predictions in a dict": (lambda loss, grads: {"o": Y, "loss": loss, "grads": grads}, "'o'"),
    "a text": (lambda loss, grads: (grads, "tanh"), "entry 1"),
    "nothing": (lambda loss, grads: (None, grads), "entry 0"),
    "a named tuple": (lambda loss, grads: Step(loss, grads, {"o": Y}), "'cache'"),
    "arrays and a cache": (lambda loss, grads: (*grads, {"A1": np.ones(3)}), "entry 4"),
    "loss, (list, cache)": (lambda loss, grads: (loss, (grads, {"A1": np.ones(3)})), "entry 2"),
    "loss, arrays, cache": (lambda loss, grads: (loss, *grads, [Y]), "entry 5"),
}
"""What is returned, and the entries that are not judged."""


class Step(NamedTuple):
    loss: float
    grads: list[np.ndarray]
    cache: dict[str, np.ndarray]


@pytest.mark.parametrize(("name", "how"), diagonal(LISTS, product((True, False), (1.0, 1.01))))
def test_a_gradient_may_stand_among_other_results(name, how):
    (result, rest), (of_network, slip) = LISTS[name], how

    def backward(params, X, Y):
        loss, found = by_hand(X, Y, *params, slip)
        return result(loss, list(found.values()))

    report = report_on(backward, of_network)
    assert report.ok == (slip == 1)
    verb = "were" if "entries" in rest else "was"
    assert [note for note in report.notes if "of the result" in note] == (
        [f"{rest} of the result {verb} not judged"] if rest else []
    )


@pytest.mark.parametrize("of_network", [True, False])
def test_a_wrong_loss_among_other_results_is_found(of_network):
    def backward(params, X, Y):
        loss, found = by_hand(X, Y, *params)
        return {"grads": list(found.values()), "loss": 2 * loss, "cache": []}

    report = report_on(backward, of_network)
    assert [finding.quantity for finding in report.findings] == ["J"]
    assert report.verdict == "wrong"


@pytest.mark.parametrize(
    "result",
    [
        lambda grads: (grads, [array + 1 for array in grads]),
        lambda grads: {"one": grads, "other": [2 * array for array in grads]},
        lambda grads: (0.5, grads, tuple(grads)),
    ],
)
@pytest.mark.parametrize("of_network", [True, False])
def test_what_may_be_the_gradient_or_not_is_refused(of_network, result):
    def backward(params, X, Y):
        return result(list(by_hand(X, Y, *params)[1].values()))

    report = report_on(backward, of_network)
    assert [finding.kind for finding in report.findings] == ["wrong_structure"]
    assert "of the result may each be " in report.findings[0].message


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (lambda dx: (dx, {1: "one", "two": 2}), "right"),
        (lambda dx: {("d", "x"): dx, "accuracy": None}, "right"),
        (lambda dx: {1: dx, "two": dx}, "wrong"),
        (lambda dx: {1: {"one": dx}, "two": None}, "wrong"),
    ],
)
def test_keys_that_have_no_order_are_read(result, verdict):
    """JAX cannot take such dicts apart."""
    report = fcnet.check_gradient(lambda x: result(np.cos(x)), lambda x: jnp.sum(jnp.sin(x)), X[0])
    assert report.verdict == verdict


def test_a_gradient_of_one_more_argument_is_not_left_out():
    """(dx, dw, ds) for (x, w) is not dx with something beside it: dw would not be judged."""
    report = fcnet.check_gradient(
        lambda x, w: (np.cos(x) * w, 3 * np.sin(x), np.ones(2)),
        lambda x, w: jnp.sum(jnp.sin(x) * w),
        np.ones(2),
        np.ones(2),
    )
    assert [finding.kind for finding in report.findings] == ["wrong_structure"]
