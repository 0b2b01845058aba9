"""`fcnet.check_gradient`: hand-written gradients of any scalar function, right and wrong ones."""

import jax.numpy as jnp
import numpy as np
import pytest
from support.loss_of_pytree import arguments, by_hand, function

import fcnet

pytestmark = pytest.mark.untyped


def spoilt(change):
    """The right gradient after `change`, which edits the dict or returns another."""

    def gradient(*args):
        result = by_hand(*args)
        other = change(result, *args)
        return result if other is None else other

    return gradient


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_right_gradient_of_a_pytree_is_right_in_every_precision_and_scale(dtype, scale):
    args = arguments(jnp.dtype(dtype))
    report = fcnet.check_gradient(by_hand, function, *args, scale)
    assert report.verdict == "right", str(report)
    assert report.precision == dtype
    assert [leaf.path for leaf in report.leaves] == [
        "params['W']",
        "params['layers'][0]['b']",
        "params['layers'][1]",
        "params['shift']",
    ]
    assert report.findings == ()


def set_leaf(name, edit):
    """A change of one entry of the dict."""

    def change(result, *args):
        result[name] = edit(result[name])

    return change


def set_bias(edit):
    def change(result, *args):
        result["layers"][0]["b"] = edit(result["layers"][0]["b"])

    return change


def nudged(size):
    """The median entry of W, off by a relative `size`."""

    def edit(W):
        W, order = W.copy(), np.argsort(abs(W), axis=None)
        W.flat[order[W.size // 2]] *= W.dtype.type(1 + size)
        return W

    return set_leaf("W", edit)


def adds_the_parameter(result, params, *_):
    result["W"] = result["W"] + 0.01 * params["W"]


WRONG = {
    "twice": (set_leaf("W", lambda W: 2 * W), "factor_2"),
    "the other sign": (set_bias(np.negative), "sign"),
    "another factor": (set_leaf("W", lambda W: 1.37 * W), "scaled"),
    "transposed": (set_leaf("W", np.transpose), "transposed"),
    "zero": (set_bias(np.zeros_like), "zero"),
    "a penalty that is not there": (adds_the_parameter, "adds_argument"),
    "one entry dropped": (set_bias(lambda b: b * np.array([1.0, 0.0, 1.0])), "dropped"),
    "rows in reverse order": (set_leaf("W", lambda W: W[::-1].copy()), "flipped"),
    "rows one place on": (set_leaf("W", lambda W: np.roll(W, 1, 0)), "shifted"),
    "two rows swapped": (set_leaf("W", lambda W: W[[1, 0, *range(2, len(W))]]), "permuted"),
    "a row added to all": (set_leaf("W", lambda W: W + np.sin(9 * W[0])), "constant_difference"),
    "something else": (set_leaf("W", lambda W: np.sin(9 * W)), "unknown"),
    "not a number": (set_bias(lambda b: b * np.nan), "not_finite"),
    "a row too many": (set_bias(lambda b: b[None]), "wrong_shape"),
    "integers": (set_leaf("shift", lambda b: np.int64(3)), "wrong_dtype"),
    "None for an array": (set_leaf("W", lambda W: None), "none_leaf"),
    "no array": (set_leaf("W", lambda W: "W"), "wrong_structure"),
    "a gradient of an integer": (set_leaf("times", lambda _: 1.5), "integer_leaf"),
    "a missing leaf": (lambda result, *_: result.pop("shift") and result, "wrong_structure"),
    "a list for a dict": (lambda result, *_: list(result.values()), "wrong_structure"),
}
"""Changes that make the gradient wrong, and the kind of the finding."""


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_found_and_what_is_wrong_is_said(name):
    change, kind = WRONG[name]
    report = fcnet.check_gradient(spoilt(change), function, *arguments())
    assert report.verdict == "wrong"
    assert [finding.kind for finding in report.findings] == [kind], str(report)


@pytest.mark.parametrize(
    ("dtype", "size"), [("float64", 1e-12), ("float32", 1e-4), ("bfloat16", 5e-2)]
)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_a_small_error_in_one_entry_is_found(dtype, size, scale):
    args = (*arguments(jnp.dtype(dtype), seed=1), scale)
    report = fcnet.check_gradient(spoilt(nudged(size)), function, *args)
    assert report.verdict == "wrong", str(report)


def test_two_wrong_leaves_are_both_named():
    def change(result, *args):
        result["W"], result["shift"] = 2 * result["W"], -result["shift"]

    report = fcnet.check_gradient(spoilt(change), function, *arguments())
    assert {(f.kind, f.message.split(" ")[3]) for f in report.findings} == {
        ("factor_2", "params['W']"),
        ("sign", "params['shift']"),
    }


def test_swapped_leaves_are_recognised():
    def dot(a, b):
        return jnp.sum(jnp.sin(a) * b)

    def gradient(a, b):
        return np.cos(a) * b, np.sin(a)

    a, b = np.array([0.3, 0.7, -1.1]), np.array([1.3, -0.2, 0.5])
    assert fcnet.check_gradient(gradient, dot, a, b).ok
    report = fcnet.check_gradient(lambda a, b: gradient(a, b)[::-1], dot, a, b)
    assert [finding.kind for finding in report.findings] == ["swapped", "swapped"]


def test_an_outer_product_that_is_added_is_recognised():
    def gradient(A):
        return np.cos(A) + np.outer(np.sin(9 * A[:, 0]), A[0] ** 2)

    A = np.linspace(-1, 2, 12).reshape(3, 4)
    report = fcnet.check_gradient(gradient, lambda A: jnp.sin(A).sum(), A)
    assert [finding.kind for finding in report.findings] == ["rank_one_difference"]


def test_a_gradient_that_is_zero_everywhere_proves_nothing():
    report = fcnet.check_gradient(np.zeros_like, lambda x: jnp.sum(0 * x), np.ones(3))
    assert report.verdict == "cannot tell"
    assert "nothing is proved" in report.notes[0]
    assert fcnet.check_gradient(np.ones_like, lambda x: jnp.sum(0 * x), np.ones(3)).findings


def test_a_small_entry_that_is_dropped_is_found():
    def gradient(x):
        return np.where(x < 1, 0, 2 * x)

    report = fcnet.check_gradient(gradient, lambda x: (x**2).sum(), np.array([1e-14, 3.0]))
    assert [finding.kind for finding in report.findings] == ["dropped"]


def test_a_constant_that_is_added_is_named_where_the_gradient_is_small():
    def gradient(x):
        return 3 * x**2 + 0.3

    x = np.array([1e-6, -2.0, 0.5])
    report = fcnet.check_gradient(gradient, lambda x: jnp.sum(x**3), x)
    assert [finding.kind for finding in report.findings] == ["adds_constant"]


def test_other_containers_are_described_in_words():
    def valued(x, w):
        return jnp.sum(jnp.sin(x) * w)

    report = fcnet.check_gradient(lambda x, w: {"z": {"q": x}}, valued, np.ones(2), np.ones(2))
    assert report.findings[0].message == (
        "the gradient is a dict with z.q, expected an array, like x, alone or as (value, "
        "gradient); or a tuple of 2 gradients, one for each argument; or a dict by the names of "
        "arguments, such as dx, dw"
    )
    params, x, y = arguments()
    short = fcnet.check_gradient(spoilt(WRONG["a missing leaf"][0]), function, params, x, y)
    assert "it lacks ['shift']" in short.findings[0].message
    assert "PyTreeDef" not in str(short)


def test_an_array_whose_gradient_is_zero_does_not_set_the_headline():
    """A bias before batch norm: nothing depends on it."""
    X = np.random.default_rng(0).normal(size=(8, 3))

    def centred(params):
        z = X @ params["W"] + params["b"]
        return jnp.sum(jnp.tanh(z - z.mean(0)) ** 2)

    def gradient(params):
        z = X @ params["W"] + params["b"]
        t = np.tanh(z - z.mean(0))
        delta = 2 * t * (1 - t * t)
        delta -= delta.mean(0)
        return {"W": X.T @ delta, "b": delta.sum(0)}

    params = {"W": np.random.default_rng(1).normal(size=(3, 4)), "b": np.ones(4)}
    report = fcnet.check_gradient(gradient, centred, params)
    assert report.ok
    assert " to 0.0 digits" not in str(report)
    assert "RIGHT to 1" in str(report)
    nothing = fcnet.check_gradient(np.zeros_like, lambda x: jnp.sum(0 * x), np.ones(3))
    assert str(nothing).startswith("zeros_like: CANNOT TELL\n")
