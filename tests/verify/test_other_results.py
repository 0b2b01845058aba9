"""A gradient among other results, and in a dict by the names of arguments.

| result | oracle |
|---|---|
| a dict by the names of some arguments | right; a wrong entry is the only wrong leaf |
| a gradient beside a loss, a cache, an accuracy | right, with a note on what was not judged |
| a wrong loss, or gradient, beside other results | found |
| two entries that may be the gradient; arrays beside one | refused |
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fcnet

pytestmark = pytest.mark.untyped

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 2))
W1, b1, W2, b2 = (RNG.normal(size=shape) for shape in ((3, 4), (3,), (2, 3), (2,)))


def loss_of(X, W1, b1, W2, b2):
    return jnp.mean(jnp.sum((jnp.tanh(X @ W1.T + b1) @ W2.T + b2 - Y) ** 2, 1)) / 2


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


@pytest.mark.parametrize("extra", ["dW3", "cache"])
def test_a_dict_with_another_array_is_refused(extra):
    def gradient(X, W1, b1, W2, b2):
        found = by_hand(X, Y, W1, b1, W2, b2)[1]
        return {**{f"d{name}": array for name, array in found.items()}, extra: np.ones(3)}

    report = fcnet.check_gradient(gradient, loss_of, X, W1, b1, W2, b2)
    assert [finding.kind for finding in report.findings] == ["wrong_structure"]
    assert "or a dict by the names of arguments, such as dX, dW1" in report.findings[0].message


LISTS = {
    "a cache last": (lambda loss, grads: (grads, {"A1": np.ones((6, 3))}), "1"),
    "a cache first": (lambda loss, grads: ([np.ones((6, 3)), np.ones((6, 2))], grads), "0"),
    "loss, gradient, cache": (lambda loss, grads: (loss, grads, {"A1": np.ones(3)}), "2"),
    "a dict": (lambda loss, grads: {"loss": loss, "grads": grads}, ""),
    "a dict with a cache": (lambda loss, grads: {"c": [], "loss": loss, "grads": grads}, "'c'"),
    "two numbers": (lambda loss, grads: (loss, 0.75, grads), "0, 1"),
}
"""What is returned, and the entries that are not judged."""


@pytest.mark.parametrize("slip", [1.0, 1.01])
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("of_network", [True, False])
def test_a_gradient_may_stand_among_other_results(of_network, name, slip):
    result, rest = LISTS[name]

    def backward(params, X, Y):
        loss, found = by_hand(X, Y, *params, slip)
        return result(loss, list(found.values()))

    params = [W1, b1, W2, b2]
    if of_network:
        report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    else:
        report = fcnet.check_gradient(
            lambda params: backward(params, X, Y), lambda params: loss_of(X, *params), params
        )
    assert report.ok == (slip == 1)
    note = f"of the result, {rest} is no gradient, and was not judged"
    assert (note in report.notes) == bool(rest)


@pytest.mark.parametrize("of_network", [True, False])
def test_a_wrong_loss_among_other_results_is_found(of_network):
    def backward(params, X, Y):
        loss, found = by_hand(X, Y, *params)
        return {"grads": list(found.values()), "loss": 2 * loss, "cache": []}

    params = [W1, b1, W2, b2]
    if of_network:
        report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    else:
        report = fcnet.check_gradient(
            lambda params: backward(params, X, Y), lambda params: loss_of(X, *params), params
        )
    assert [finding.quantity for finding in report.findings] == ["J"]
    assert report.verdict == "wrong"


@pytest.mark.parametrize(
    "result",
    [
        lambda grads: (grads, [array + 1 for array in grads]),
        lambda grads: {"one": grads, "other": [2 * array for array in grads]},
        lambda grads: (grads, np.ones(3)),
    ],
)
@pytest.mark.parametrize("of_network", [True, False])
def test_what_may_be_the_gradient_or_not_is_refused(of_network, result):
    def backward(params, X, Y):
        return result(list(by_hand(X, Y, *params)[1].values()))

    params = [W1, b1, W2, b2]
    if of_network:
        report = fcnet.check(backward, params, X, Y, activation="tanh", batched=True)
    else:
        report = fcnet.check_gradient(
            lambda params: backward(params, X, Y), lambda params: loss_of(X, *params), params
        )
    assert [finding.kind for finding in report.findings] == ["wrong_structure"]


def test_a_gradient_of_one_more_argument_is_not_left_out():
    """(dx, dw, ds) for (x, w) is not dx with something beside it: dw would not be judged."""
    report = fcnet.check_gradient(
        lambda x, w: (np.cos(x) * w, 3 * np.sin(x), np.ones(2)),
        lambda x, w: jnp.sum(jnp.sin(x) * w),
        np.ones(2),
        np.ones(2),
    )
    assert [finding.kind for finding in report.findings] == ["wrong_structure"]
