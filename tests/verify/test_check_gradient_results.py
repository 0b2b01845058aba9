"""`fcnet.check_gradient`: what a gradient may return, such as a value or several gradients."""

from collections import OrderedDict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet

pytestmark = pytest.mark.untyped


def valued(x, w):
    """A scalar function of two arrays, and its gradient with respect to x."""
    return jnp.sum(jnp.sin(x) * w)


class Gradients(NamedTuple):
    dx: np.ndarray
    dw: np.ndarray


FORMS = {
    "(value, gradient)": (lambda x, w: (np.sin(x) @ w, np.cos(x) * w), ["x", "value"]),
    "(gradient, value)": (lambda x, w: (np.cos(x) * w, float(np.sin(x) @ w)), ["x", "value"]),
    "[value, gradient]": (lambda x, w: [np.sin(x) @ w, np.cos(x) * w], ["x", "value"]),
    "the value as a (1, 1) array": (
        lambda x, w: (np.sin(x)[None] @ w[:, None], np.cos(x) * w),
        ["x", "value"],
    ),
    "(value, all gradients)": (
        lambda x, w: (np.sin(x) @ w, (np.cos(x) * w, np.sin(x))),
        ["x", "w", "value"],
    ),
    "all gradients": (lambda x, w: (np.cos(x) * w, np.sin(x)), ["x", "w"]),
    "a named tuple": (lambda x, w: Gradients(np.cos(x) * w, np.sin(x)), ["x", "w"]),
    "an iterator": (lambda x, w: iter([np.cos(x) * w, np.sin(x)]), ["x", "w"]),
    "(value, gradient, gradient)": (
        lambda x, w: (np.sin(x) @ w, np.cos(x) * w, np.sin(x)),
        ["x", "w", "value"],
    ),
    "[gradient, gradient, value]": (
        lambda x, w: [np.cos(x) * w, np.sin(x), np.sin(x) @ w],
        ["x", "w", "value"],
    ),
    "((value, other results), gradient)": (
        lambda x, w: ((np.sin(x) @ w, {"accuracy": 0.5}), np.cos(x) * w),
        ["x", "value"],
    ),
    "a value that JAX computed in float32": (
        lambda x, w: (float(valued(x, w)), np.cos(x) * w),
        ["x", "value"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [3, 1])
def test_the_value_may_stand_beside_the_gradient(form, size):
    gradient, paths = FORMS[form]
    x, w = np.array([0.3, -1.2, 0.8])[:size], np.array([1.5, 0.4, -2.0])[:size]
    report = fcnet.check_gradient(gradient, valued, x, w)
    assert report.verdict == "right", str(report)
    assert report.precision == "float64"
    assert [leaf.path for leaf in report.leaves] == paths


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"an iterator"}))
def test_a_wrong_gradient_is_found_beside_the_value(form):
    gradient, _ = FORMS[form]
    x, w = np.array([0.3, -1.2, 0.8]), np.array([1.5, 0.4, -2.0])

    def slip(x, w):
        """The gradient at other places: cos(x + 0.1) for cos(x), but the value is right."""
        value = float(np.sin(x) @ w)
        return jax.tree.map(
            lambda part: value if np.ndim(part) != 1 else part, gradient(x + 0.1, w)
        )

    report = fcnet.check_gradient(slip, valued, x, w)
    assert report.verdict == "wrong"
    assert not any(f.quantity == "J" or f.kind == "wrong_shape" for f in report.findings)


def test_a_wrong_value_is_a_finding_and_does_not_hide_a_wrong_gradient():
    x, w = np.array([0.3, -1.2, 0.8]), np.array([1.5, 0.4, -2.0])
    one = fcnet.check_gradient(lambda x, w: (2 * np.sin(x) @ w, np.cos(x) * w), valued, x, w)
    assert one.verdict == "wrong"
    assert [(f.kind, f.quantity, f.message) for f in one.findings] == [
        ("factor_2", "J", "the value is 2 times what it must be")
    ]
    two = fcnet.check_gradient(lambda x, w: (np.sin(x) @ w + 1, -np.cos(x) * w), valued, x, w)
    assert {(f.kind, f.quantity) for f in two.findings} == {("unknown", "J"), ("sign", "")}


def test_the_gradient_may_be_that_of_every_argument():
    def function(x, n, y):
        return jnp.sum(x * y) * n

    x, y = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    report = fcnet.check_gradient(lambda x, n, y: (y * n, None, x * n), function, x, 3, y)
    assert report.ok
    assert [leaf.path for leaf in report.leaves] == ["x", "y"]
    wrong = fcnet.check_gradient(lambda x, n, y: (y * n, None, x), function, x, 3, y)
    assert [finding.kind for finding in wrong.findings] == ["scaled"]


LEFT_OUT = {
    "(gradient, gradient)": lambda value, dv, dU: (dv, dU),
    "(value, gradient, gradient)": lambda value, dv, dU: (value, dv, dU),
    "(value, (gradient, gradient))": lambda value, dv, dU: (value, (dv, dU)),
    "a dict": lambda value, dv, dU: {"dU": dU, "dv": dv},
}


@pytest.mark.parametrize("slip", [1, 2])
@pytest.mark.parametrize("form", LEFT_OUT)
def test_an_argument_of_integers_needs_no_entry(form, slip):
    """As in word2vec, whose loss has the vector, the index of a word, and all vectors."""

    def function(v, o, U, note):
        return -jax.nn.log_softmax(U @ v)[o]

    def gradient(v, o, U, note):
        p = np.exp(U @ v) / np.exp(U @ v).sum()
        d = p - np.eye(len(U))[o]
        return LEFT_OUT[form](-np.log(p[o]), d @ U, slip * np.outer(d, v))

    r = np.random.default_rng(0)
    report = fcnet.check_gradient(gradient, function, r.normal(size=4), 2, r.normal(size=(6, 4)), 7)
    assert [f.kind for f in report.findings] == ["factor_2"] * (slip == 2), report
    assert [leaf.path for leaf in report.leaves][:2] == ["v", "U"]


@pytest.mark.parametrize("slip", [1, 2])
@pytest.mark.parametrize("with_value", [False, True])
def test_a_lone_gradient_is_that_of_the_first_argument_with_numbers(with_value, slip):
    ids, d = np.array([[0, 3, 1], [4, 2, 5]]), np.random.default_rng(0).normal(size=(2, 3, 3))

    def gradient(ids, W):
        dW = np.zeros_like(W)
        np.add.at(dW, ids, slip * d)
        return ((d * W[ids]).sum(), dW) if with_value else dW

    W = np.random.default_rng(1).normal(size=(6, 3))
    report = fcnet.check_gradient(gradient, lambda ids, W: jnp.sum(d * W[ids]), ids, W)
    assert [f.kind for f in report.findings] == ["factor_2"] * (slip == 2), report
    assert [leaf.path for leaf in report.leaves] == ["W"] + ["value"] * with_value


class Block(NamedTuple):
    heads: int
    W: np.ndarray


@pytest.mark.parametrize("slip", [1, 2])
@pytest.mark.parametrize("kind", [lambda heads, W: {"heads": heads, "W": W}, Block])
def test_what_is_no_number_among_the_parameters_needs_no_entry(kind, slip):
    """As the number of heads in a dict of weights, and the name of an activation in a list."""

    def function(params, x):
        blocks, sizes, _ = params
        W = [block["W"] if isinstance(block, dict) else block.W for block in blocks]
        return jnp.sum(jnp.sin(x @ W[0] @ W[1])) / len(sizes["all"])

    def gradient(params, x):
        W1, W2 = (block["W"] if type(block) is dict else block.W for block in params[0])
        d = np.cos(x @ W1 @ W2) / 3
        return [[{"dW": x.T @ d @ W2.T}, {"dW": slip * W1.T @ x.T @ d}]]

    r = np.random.default_rng(0)
    blocks = [kind(2, r.normal(size=(3, 4))), kind(2, r.normal(size=(4, 2)))]
    params = [blocks, {"all": [3, 4, 2]}, "sine"]
    report = fcnet.check_gradient(gradient, function, params, r.normal(size=(5, 3)))
    assert [f.kind for f in report.findings] == ["factor_2"] * (slip == 2), report
    assert len(report.leaves) == 2


BESIDE_ENTRIES = {
    "all": (lambda params, x, c: (params, x, c), ["params['W']", "params['b']", "x"], ""),
    "the parameters": (lambda params, x, c: (params,), ["params['W']", "params['b']"], "'dx'"),
}


@pytest.mark.parametrize("slip", [1, 2])
@pytest.mark.parametrize("with_value", [False, True])
@pytest.mark.parametrize("arguments", BESIDE_ENTRIES)
def test_the_entries_of_a_dict_may_stand_beside_gradients_of_arguments(arguments, with_value, slip):
    """As the gradients of a recurrent cell do in a course: dW, db, and dx."""
    of, paths, left_out = BESIDE_ENTRIES[arguments]
    r = np.random.default_rng(0)
    given = of({"W": r.normal(size=(2, 3)), "b": r.normal(size=(2, 1))}, r.normal(size=(3, 4)), 2)
    x0 = r.normal(size=(3, 4))

    def function(params, x=x0, c=2):
        return jnp.sum(jnp.sin(params["W"] @ x + params["b"])) * c

    def gradient(params, x=x0, c=2):
        z = params["W"] @ x + params["b"]
        d = c * np.cos(z)
        found = {"dx": params["W"].T @ d, "dW": slip * d @ x.T, "db": d.sum(1, keepdims=True)}
        return (c * np.sin(z).sum(), found) if with_value else found

    report = fcnet.check_gradient(gradient, function, *given)
    assert [f.kind for f in report.findings] == ["factor_2"] * (slip == 2), report
    assert [leaf.path for leaf in report.leaves] == paths + ["value"] * with_value
    assert any(left_out in note for note in report.notes) or not left_out
    lacking = fcnet.check_gradient(lambda *args: {"db": np.ones((2, 1))}, function, *given)
    assert "it lacks W" in lacking.findings[0].message


REORDERED = {
    "the last layer first": lambda dX, dy, dW, db: (db, dW),
    "beside the value": lambda dX, dy, dW, db: (1.5, dW, db),
    "all": lambda dX, dy, dW, db: [db, dW, dX, dy],
}


@pytest.mark.parametrize("slip", [False, True])
@pytest.mark.parametrize("form", REORDERED)
def test_gradients_of_other_arguments_are_told_by_their_shapes(form, slip):
    def function(X, y, W, b):
        return jnp.sum((X @ W + b) * y)

    def gradient(X, y, W, b):
        db = y.sum(0) * (2 if slip else 1)
        found = REORDERED[form](y @ W.T, X @ W + b, X.T @ y, db)
        value = float(np.sum((X @ W + b) * y))
        return type(found)(value if type(part) is float else part for part in found)

    r = np.random.default_rng(0)
    args = (r.normal(size=shape) for shape in ((6, 3), (6, 2), (3, 2), (2,)))
    report = fcnet.check_gradient(gradient, function, *args)
    assert [f.kind for f in report.findings] == ["leaf_order", *["factor_2"] * slip], str(report)
    assert report.ok != slip


def test_a_gradient_that_was_not_summed_is_not_that_of_the_data():
    X = np.random.default_rng(0).normal(size=(6, 3))
    report = fcnet.check_gradient(
        lambda W, b, X: (X.T @ X, X),
        lambda W, b, X: jnp.sum(X * (X @ W + b)),
        *(np.eye(3), np.ones(3), X),
    )
    assert {finding.kind for finding in report.findings} == {"wrong_shape"}


@pytest.mark.parametrize("with_value", [False, True])
def test_the_gradient_of_a_later_argument_alone_is_told_how_to_be_returned(with_value):
    def function(y, X, w):
        return ((y - X @ w) ** 2).mean() / 2

    def gradient(y, X, w):
        return X.T @ (X @ w - y) / len(y)

    def returning(form):
        def result(*args):
            found = form(gradient(*args))
            return (function(*args), found) if with_value else found

        return fcnet.check_gradient(result, function, *args)

    draw = np.random.default_rng(0)
    args = draw.normal(size=7), draw.normal(size=(7, 3)), draw.normal(size=3)
    (finding,) = returning(lambda dw: dw).findings
    assert finding.kind == "wrong_shape"
    assert finding.message.endswith(
        "if it is the gradient of w, which has this shape, return {'dw': ...}"
    )
    assert returning(lambda dw: {"dw": dw}).verdict == "right"
    assert returning(lambda dw: {"dw": 1.01 * dw}).verdict == "wrong"
    (finding,) = returning(lambda dw: dw[:2]).findings  # the shape of no argument
    assert finding.message.endswith("expected (7,)")


def test_two_numbers_are_read_as_what_they_are():
    """(value, gradient) and the gradients of two scalar arguments look alike."""

    def function(a, b):
        return jnp.sin(a) * b

    a, b = np.float64(0.3), np.float64(1.7)
    both = fcnet.check_gradient(lambda a, b: (np.cos(a) * b, np.sin(a)), function, a, b)
    assert both.ok
    assert [leaf.path for leaf in both.leaves] == ["a", "b"]
    first = fcnet.check_gradient(lambda a, b: (np.sin(a) * b, np.cos(a) * b), function, a, b)
    assert first.ok
    assert [leaf.path for leaf in first.leaves] == ["a", "value"]
    wrong = fcnet.check_gradient(lambda a, b: (np.cos(a) * b, -np.sin(a)), function, a, b)
    assert [(f.kind, f.quantity) for f in wrong.findings] == [("sign", "")]


@pytest.mark.parametrize("factor", [1.5, -1, 0.9])
def test_a_wrong_gradient_of_a_number_is_no_wrong_value(factor):
    """The first argument is a vector, the second a number."""
    x, s = np.array([0.3, -1.2, 0.8]), np.float64(0.7)
    report = fcnet.check_gradient(
        lambda x, s: (s * np.cos(s * x), factor * (x * np.cos(s * x)).sum()),
        lambda x, s: jnp.sin(s * x).sum(),
        *(x, s),
    )
    assert report.findings
    assert all("the gradient of s" in finding.message for finding in report.findings)


def test_an_argument_that_is_to_have_no_gradient_is_told():
    x, w = np.ones(2), np.ones(2)
    report = fcnet.check_gradient(lambda x, w: (None, np.sin(x)), valued, x, w)
    assert [f.kind for f in report.findings] == ["none_leaf"]
    assert "for a constant, check a function of the other arguments" in report.findings[0].message


@pytest.mark.parametrize("slip", [False, True])
@pytest.mark.parametrize("style", ["d{}", "grad_{}", "{}_grad", "g{}"])
def test_the_keys_of_a_gradient_may_be_those_of_its_parameters_with_a_word(style, slip):
    """In one dict, in a list of dicts, and beside the gradient of another argument."""

    def function(layers, x):
        return sum(jnp.sum(jnp.tanh(x @ layer["W"] + layer["b"])) for layer in layers)

    def gradient(layers, x):
        slopes = [1 - np.tanh(x @ layer["W"] + layer["b"]) ** 2 for layer in layers]
        named = [
            {style.format("b"): d.sum(0), style.format("W"): x.T @ (-d if slip else d)}
            for d in slopes
        ]
        dx = sum(d @ layer["W"].T for d, layer in zip(slopes, layers, strict=True))
        return named, dx

    r = np.random.default_rng(0)
    layers = [kind(W=r.normal(size=(3, 2)), b=r.normal(size=2)) for kind in (dict, OrderedDict)]
    x = r.normal(size=(4, 3))
    for form in (gradient, lambda *args: gradient(*args)[0]):
        report = fcnet.check_gradient(form, function, layers, x)
        assert [(f.kind, "b']" in f.message) for f in report.findings] == [("sign", False)] * slip


@pytest.mark.parametrize("transposed", [True, False])
def test_transposed_gradients_of_two_arrays_are_no_other_order(transposed):
    """Each has the shape of the other argument: the reading with right numbers is taken."""

    def function(A, B):
        return jnp.sum(A**2) + jnp.sum(B**3)

    def gradient(A, B):
        dA, dB = 2 * A, 3 * B**2
        return (dA.T, dB.T) if transposed else (dB, dA)

    draw = np.random.default_rng(0)
    report = fcnet.check_gradient(
        gradient, function, draw.normal(size=(3, 4)), draw.normal(size=(4, 3))
    )
    kinds = ["wrong_shape", "wrong_shape"] if transposed else ["leaf_order"]
    assert [finding.kind for finding in report.findings] == kinds
    assert all("transposed" in f.message for f in report.findings) == transposed


def masked(s, H, mask, p):
    return jnp.sum(mask * jnp.tanh(H @ s + p["b"]))


def test_gradients_that_pass_over_a_mask_of_real_numbers_are_told_their_names():
    rng = np.random.default_rng(0)
    args = rng.normal(size=3), rng.normal(size=(4, 3)), np.array([1.0, 0, 1, 1]), {"b": np.ones(4)}

    def by_name(s, H, mask, p):
        d = mask / np.cosh(H @ s + p["b"]) ** 2
        return {"ds": H.T @ d, "dH": np.outer(d, s), "dp": {"b": d}}

    def in_order(*args):
        return tuple(by_name(*args).values())

    (finding,) = fcnet.check_gradient(in_order, masked, *args).findings
    assert finding.kind == "wrong_structure"
    assert "of s, H, p return them in a dict by name, {'ds': ..., 'dH'" in finding.message
    assert fcnet.check_gradient(by_name, masked, *args).ok
    (swapped,) = fcnet.check_gradient(lambda *a: in_order(*a)[::-1], masked, *args).findings
    assert "by name, {" not in swapped.message


def test_a_number_after_the_gradient_may_be_a_bias_gradient_without_its_shape():
    def function(W, ids, b):
        return jnp.sum((W[ids] + b) ** 2)

    def gradient(W, ids, b, axis=None):
        d, dW = 2 * (W[ids] + b), np.zeros_like(W)
        np.add.at(dW, ids, d)
        return dW, d.sum(axis)

    args = np.arange(6.0).reshape(3, 2), np.array([0, 2, 1, 1]), np.ones(2)
    (finding,) = fcnet.check_gradient(gradient, function, *args).findings
    assert finding.quantity == "J"
    assert finding.message.endswith("the gradient of b must have the shape of that")
    assert fcnet.check_gradient(lambda *a: gradient(*a, axis=0), function, *args).ok


@pytest.mark.parametrize("factor", [1, 2])
def test_a_flat_gradient_of_a_matrix_is_told_and_its_numbers_are_judged(factor):
    W = np.array([[0.3, -1.2, 2.4], [1.1, 0.2, -0.7]])
    report = fcnet.check_gradient(lambda W: factor * 2 * W.ravel(), lambda W: jnp.sum(W**2), W)
    assert [finding.kind for finding in report.findings] == ["wrong_shape", "factor_2"][:factor]
    assert "(6,), expected (2, 3): it is flat" in report.findings[0].message
