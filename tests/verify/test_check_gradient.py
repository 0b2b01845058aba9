"""`fcnet.check_gradient`: hand-written gradients of any scalar function, right and wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
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


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("dtype", [int, bool])
def test_whole_numbers_are_judged_as_numbers(dtype, right):
    """The derivative of ReLU is often an array of integers, or of truth values."""

    def gradient(x):
        return np.where(x > 0 if right else x > 0.5, 1, 0).astype(dtype)

    x = np.array([-1.0, 0.3, 2.0, -0.2], np.float32)
    report = fcnet.check_gradient(gradient, lambda x: jnp.maximum(x, 0).sum(), x)
    assert report.ok == right
    warned = [(f.kind, np.dtype(dtype).name in f.message) for f in report.findings]
    assert ("wrong_dtype", True) in warned
    cut = fcnet.check_gradient(lambda x: (2 * x).astype(dtype), lambda x: (x**2).sum(), x)
    assert cut.verdict == "wrong"


def test_the_number_that_is_shown_is_a_wrong_one():
    """With a scale of ones, as at the start, it may stand outside the mean: not so elsewhere."""

    def normed(x, scale):
        return jnp.sum(jnp.sin(scale * (x - x.mean())))

    def gradient(x, scale):
        d = np.cos(scale * (x - x.mean()))
        return scale * (d - d.mean())

    x = np.array([0.3, -1.2, 0.8, 2.0])
    (finding,) = fcnet.check_gradient(gradient, normed, x, np.ones(4)).findings
    shown, right = (float(finding.message.split()[i]) for i in (5, 7))
    assert abs(shown - right) > 1e-3
    assert fcnet.check_gradient(gradient, normed, x, np.full(4, 1.0)).verdict == "wrong"


def test_what_must_be_zero_has_no_factor():
    """The sum of a softmax is 1."""

    def gradient(x):
        p = np.exp(x) / np.exp(x).sum()
        return p * (1 - p)

    x = np.array([0.3, -1.2, 0.8])
    (finding,) = fcnet.check_gradient(gradient, lambda x: jax.nn.softmax(x).sum(), x).findings
    assert finding.kind == "not_zero"
    assert "where 0 must be, for instance at" in finding.message


@pytest.mark.parametrize("repeated", [True, False])
def test_an_index_that_is_repeated_is_told(repeated):
    ids = np.array([[0, 3, 1], [1, 1, 4]]) if repeated else np.array([[0, 3], [1, 4]])
    d = np.random.default_rng(0).normal(size=(*ids.shape, 2))

    def gradient(W, ids):
        dW = np.zeros_like(W)
        dW[ids] += d
        return dW

    W = np.random.default_rng(1).normal(size=(6, 2))
    report = fcnet.check_gradient(gradient, lambda W, ids: jnp.sum(d * W[ids]), W, ids)
    assert [finding.kind for finding in report.findings] == ["repeated_index"] * repeated


def test_a_gradient_of_another_argument_is_told():
    """Many losses have the target first, and the gradient of the prediction."""

    def loss(y, p):
        return jnp.sum(-y * jnp.log(p))

    y, p = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.3, 0.4])
    report = fcnet.check_gradient(lambda y, p: -y / p, loss, y, p)
    assert [finding.kind for finding in report.findings] == ["other_argument"]
    assert "return {'dp': ...}" in report.findings[0].message
    assert fcnet.check_gradient(lambda y, p: {"dp": -y / p}, loss, y, p).ok
    wrong = fcnet.check_gradient(lambda y, p: 1.01 * y / p, loss, y, p)
    assert [finding.kind for finding in wrong.findings] == ["unknown"]


def test_zeros_are_not_told_as_the_gradient_of_an_argument_that_is_not_used():
    v, u = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.3, 0.4])
    report = fcnet.check_gradient(
        lambda v, u: np.zeros(3), lambda v, u: jnp.sum(v**2) + 0 * jnp.sum(u), v, u
    )
    assert [finding.kind for finding in report.findings] == ["zero"]


@pytest.mark.parametrize("named", [True, False])
def test_how_to_find_a_wrong_step_is_said_until_steps_are_named(named):
    def function(x):
        h = checkpoint_name(jnp.sin(x), "h")
        return jnp.sum(h**3)

    def gradient(x):
        dh = 3 * np.sin(x)
        return (dh * np.cos(x), {"h": dh}) if named else dh * np.cos(x)

    report = fcnet.check_gradient(gradient, function, np.array([0.3, -1.2, 0.8]))
    assert report.verdict == "wrong"
    assert any("checkpoint_name" in note for note in report.notes) != named


def test_where_a_gradient_raises_is_told():
    def gradient(x):
        return np.zeros(2.5)

    (finding,) = fcnet.check_gradient(gradient, jnp.sum, np.ones(2)).findings
    assert finding.kind == "raises"
    assert "in gradient: return np.zeros(2.5)" in finding.message


def test_entries_of_one_size_are_not_clipped():
    """A hinge loss has entries of 0, 1 / n and -k / n."""

    def loss(x, y):
        margins = jnp.maximum(0, x - x[jnp.arange(5), y][:, None] + 1)
        return margins.sum() / 5

    def gradient(x, y):
        over = (x - x[np.arange(5), y][:, None] + 1 > 0) & (np.arange(3) != y[:, None])
        dx = over.astype(float)
        dx[np.arange(5), y] -= 1  # the number of margins that are over is right
        return dx / 5

    x = np.random.default_rng(6).normal(size=(5, 3))
    report = fcnet.check_gradient(gradient, loss, x, np.array([0, 2, 1, 1, 0]))
    assert report.verdict == "wrong"
    assert "clipped" not in {finding.kind for finding in report.findings}


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
    assert short.findings[0].message.endswith("it lacks shift")
    assert "PyTreeDef" not in str(short)


def test_what_is_off_by_little_at_one_place_is_inexact():
    """As by an epsilon that shows only there: no slip."""
    x = np.linspace(0.3, 1.2, 8)
    for at, kind in ((np.arange(8) == 3, "inexact"), (np.ones(8), "adds_constant")):
        report = fcnet.check_gradient(
            lambda x, at=at: np.cos(x) + 1e-9 * at, lambda x: jnp.sin(x).sum(), x
        )
        assert [finding.kind for finding in report.findings] == [kind]


def test_many_arrays_that_are_off_by_little_share_one_finding():
    rng = np.random.default_rng(0)
    p = {key: rng.normal(size=5) for key in "abc"}

    def gradient(p):
        """Right but for one number of each array, off by 1e-9, 1e-8 and 1e-7."""
        return {
            key: np.cos(x) + np.eye(5)[2] * 10.0 ** (i - 9) for i, (key, x) in enumerate(p.items())
        }

    report = fcnet.check_gradient(gradient, lambda p: sum(jnp.sin(x).sum() for x in p.values()), p)
    (finding,) = report.findings
    share = max(1e-7 / abs(np.cos(p["c"])).max(), 1e-7)
    assert finding.kind == "inexact"
    assert finding.message.startswith(
        f"the gradient of p['a'], p['b'], p['c'] is off by {share:.0e}"
    )


def test_a_function_of_a_layer_is_told_how_to_be_checked():
    with pytest.raises(TypeError, match=r"must return a real scalar.*jnp.sum\(dout \* layer"):
        fcnet.check_gradient(np.cos, jnp.sin, np.ones(3))


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
