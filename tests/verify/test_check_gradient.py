"""`fcnet.check_gradient`: hand-written gradients of any scalar function, right and wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import fcnet

pytestmark = pytest.mark.untyped


def function(params, x, y, scale=1.0):
    """A loss with parameters in a dict of several kinds: arrays, a scalar, an integer and None."""
    hidden = jnp.tanh(params["W"] @ x + params["layers"][0]["b"])
    out = params["layers"][1] @ hidden + params["shift"] * params["times"]
    return scale * jnp.sum((out - y) ** 2) / 2


def arguments(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return np.asarray(rng.normal(size=shape), dtype)

    params = {
        "W": draw(3, 3),
        "layers": [{"b": draw(3), "nothing": None}, draw(2, 3)],
        "shift": draw(),
        "times": np.int32(3),
    }
    return params, draw(3), draw(2)


def by_hand(params, x, y, scale=1.0):
    """The gradient with respect to params, in the dtype of its arrays."""
    W, b, V = params["W"], params["layers"][0]["b"], params["layers"][1]
    number = W.dtype.type
    hidden = np.tanh(W @ x + b)
    out = V @ hidden + params["shift"] * number(params["times"])
    delta = (out - y) * number(scale)
    below = (V.T @ delta) * (number(1) - hidden * hidden)
    shift = np.asarray(delta.sum() * number(params["times"]))
    return {
        "W": np.outer(below, x).astype(W.dtype),
        "layers": [
            {"b": below.astype(W.dtype), "nothing": None},
            np.outer(delta, hidden).astype(W.dtype),
        ],
        "shift": shift.astype(W.dtype),
        "times": None,
    }


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


def slope_of_max(x, at):
    """Of max(x^2): `at` is the share of the first of two that are both the largest."""
    largest = np.flatnonzero(x**2 == (x**2).max())
    share = [1.0] if len(largest) == 1 else [at, 1 - at]
    slope = np.zeros_like(x)
    slope[largest] = 2 * x[largest] * share
    return slope


KINKS = {
    "relu": (
        lambda x: jnp.sum(jax.nn.relu(x)),
        lambda x, at: np.where(x == 0, at, x > 0),
        np.array([0.0, 0.5, -1.0, 1.5]),
    ),
    "abs": (
        lambda x: jnp.sum(abs(x)),
        lambda x, at: np.where(x == 0, 2 * at - 1, np.sign(x)),
        np.array([0.0, 0.5, -1.0, 1.5]),
    ),
    "max": (lambda x: jnp.max(x**2), slope_of_max, np.array([2.0, -2.0, 0.0, 1.5])),
    "max of a pool": (
        lambda x: lax.reduce_window(x**2, -jnp.inf, lax.max, (4,), (4,), "VALID")[0],
        slope_of_max,
        np.array([2.0, -2.0, 0.0, 1.5]),
    ),
}
"""A function with a kink, its derivative with a choice of `at` there, and a point on the kink."""


@pytest.mark.parametrize("name", KINKS)
def test_ties_allow_every_choice_and_nothing_else(name):
    kinked, slope, x = KINKS[name]
    for at in (0.0, 0.5, 1.0):
        report = fcnet.check_gradient(lambda x, at=at: slope(x, at), kinked, x)
        assert report.verdict == "right", str(report)
    assert fcnet.check_gradient(lambda x: slope(x, 3.0), kinked, x).verdict == "wrong"
    off = np.array([0, 0, 0, 0.1])
    assert fcnet.check_gradient(lambda x: slope(x, 1.0) + off, kinked, x).verdict == "wrong"


def test_a_gradient_that_is_zero_everywhere_proves_nothing():
    report = fcnet.check_gradient(np.zeros_like, lambda x: jnp.sum(0 * x), np.ones(3))
    assert report.verdict == "cannot tell"
    assert "nothing is proved" in report.notes[0]
    assert fcnet.check_gradient(np.ones_like, lambda x: jnp.sum(0 * x), np.ones(3)).findings


def test_float32_inside_a_float64_gradient_is_right_and_said():
    def gradient(x):
        return (2 * np.sin(x.astype(np.float32))).astype(float) * np.cos(x.astype(np.float32))

    report = fcnet.check_gradient(gradient, lambda x: jnp.sum(jnp.sin(x) ** 2), np.ones(40) / 7)
    assert report.verdict == "right"
    assert report.precision == "float32"
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ("low_precision", "warning")
    assert "float32" in finding.message


@pytest.mark.parametrize("factor", [1, 1.001])
def test_errors_that_stay_with_few_roundings_are_no_mistake(factor):
    """1 - a^2 hardly moves for a near 1: three of these four errors stay, but not farther away."""

    def gradient(x):
        a = np.tanh(x.astype(np.float32))
        return 0.3 * factor * (1 - a * a).astype(float)

    x = np.array([3.3, 1.3, 1.1, 1.0])
    report = fcnet.check_gradient(gradient, lambda x: 0.3 * jnp.tanh(x).sum(), x)
    assert report.ok == (factor == 1), str(report)


def covariance(scale, x, noise, xp):
    """Of a Gaussian process; NumPy computes the similarities in float32, and the sum in float64."""
    similar = xp.exp(-((x[:, None] - x) ** 2) / 2)
    return similar, scale * similar + noise * np.eye(len(x))


@pytest.mark.parametrize("noise", [1e-1, 1e-4])
def test_float64_of_float32_arguments_has_the_errors_of_these(noise):
    """With little noise these errors hardly change when the arguments move by a few roundings."""

    def function(scale, x):
        return jnp.linalg.slogdet(covariance(scale, x, noise, jnp)[1])[1]

    def gradient(scale, x, factor=1):
        similar, K = covariance(scale, x, noise, np)
        return factor * np.trace(np.linalg.inv(K) @ similar)

    scale, x = np.float32(1.5), np.linspace(0, 0.4, 8, dtype=np.float32)
    report = fcnet.check_gradient(gradient, function, scale, x)
    assert report.verdict == "right", str(report)
    assert [(f.kind, f.severity) for f in report.findings] == [("low_precision", "warning")]
    wrong = fcnet.check_gradient(lambda *args: gradient(*args, 1.1), function, scale, x)
    assert wrong.verdict == "wrong"


def test_what_is_exact_at_the_users_own_point_is_no_limit():
    """exp(0) is exact, and float32 has no error there that a result in float64 could show."""
    t = np.zeros(3, np.float32)
    report = fcnet.check_gradient(lambda t: np.exp(t) * np.ones(3), lambda t: jnp.exp(t).sum(), t)
    assert report.verdict == "right"
    assert report.notes == ()


@pytest.mark.parametrize("which", [0, 1])
def test_an_infinite_mask_hides_no_fault(which):
    """-inf in a program once made every tolerance infinite."""
    mask = np.tril(np.ones((4, 4), bool))

    def attention(s, v):
        return jnp.sum((jax.nn.softmax(jnp.where(mask, s, -jnp.inf)) @ v) ** 2) / 2

    def gradient(s, v, factors=(1, 1)):
        A = np.where(mask, np.exp(s), 0)
        A = A / A.sum(1, keepdims=True)
        dA = A @ v @ v.T
        return factors[0] * A * (dA - (dA * A).sum(1, keepdims=True)), factors[1] * A.T @ (A @ v)

    draw = np.random.default_rng(0)
    args = draw.normal(size=(4, 4)), draw.normal(size=(4, 3))
    report = fcnet.check_gradient(gradient, attention, *args)
    assert report.verdict == "right", str(report)
    assert report.notes == ()
    factors = np.where(np.arange(2) == which, 2, 1)
    report = fcnet.check_gradient(lambda *args: gradient(*args, factors), attention, *args)
    assert [finding.kind for finding in report.findings] == ["factor_2"]


KNOWN = {
    "rows that a mask takes": lambda x, k: (x[k > 1] ** 2).sum(),
    "a label": lambda x, k: x[int(k[0])] ** 2,
    "the first few": lambda x, k: (x[: k.max()] ** 2).sum(),
}
"""Functions that JAX can trace if it knows the integers k."""


@pytest.mark.parametrize("array", [np.array, jnp.array])
@pytest.mark.parametrize("name", KNOWN)
def test_shapes_may_depend_on_integers(name, array):
    function = KNOWN[name]
    x, k = np.array([0.3, -1.2, 2.4], np.float32), array([1, 2, 2])
    assert fcnet.check_gradient(jax.grad(function), function, x, k).ok
    twice = fcnet.check_gradient(lambda x, k: 2 * jax.grad(function)(x, k), function, x, k)
    assert twice.verdict == "wrong"


def test_integers_have_the_methods_of_jax():
    """Arrays of NumPy have a method `dot` that does not take what JAX traces."""
    x, k = np.array([0.3, -1.2, 2.4]), np.array([1, 2, 2])
    assert fcnet.check_gradient(lambda x, k: 2 * k * x, lambda x, k: k.dot(x**2), x, k).ok


def test_a_gradient_that_loses_digits_is_called_unstable():
    def function(x):
        return jax.nn.logsumexp(x)

    def naive(x):
        e = np.exp(x)
        return e / e.sum()

    x = np.array([3.0, 90.0, 1.0], np.float32)
    report = fcnet.check_gradient(naive, function, x)
    assert report.verdict == "right"
    assert [(f.kind, f.severity) for f in report.findings] == [("unstable", "warning")]
    stable = fcnet.check_gradient(lambda x: naive(x - x.max()), function, x)
    assert stable.ok
    assert not stable.notes
    assert not stable.findings


def cross_entropy(z, y):
    """Of two classes, as stable as it can be: its gradient loses no digits for large z."""
    return -(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z)).sum()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [20, 100])
def test_a_difference_that_rounds_to_nothing_is_no_mistake(scale, dtype):
    """p - y is 0 where p rounds to y; in float32 for logits of 17 and more, in float64 of 37."""

    def gradient(z, y):
        return 1 / (1 + np.exp(-z)) - y

    z, y = np.array([1.013, -0.987, 0.731, 0.012]) * scale, np.array([1.0, 0, 1, 0])
    args = z.astype(dtype), y.astype(dtype)
    report = fcnet.check_gradient(gradient, cross_entropy, *args)
    assert report.verdict == "right", str(report)
    assert all("cancel" in finding.message for finding in report.findings)
    for wrong in (
        lambda z, y: 2 * gradient(z, y),
        lambda z, y: z.dtype.type(1.01) * gradient(z, y),
        lambda z, y: gradient(z, y) - 0.1 * y,
        lambda z, y: np.where(abs(z) < 0.5 * scale, 0, gradient(z, y)),
    ):
        report = fcnet.check_gradient(wrong, cross_entropy, *args)
        assert report.verdict == "wrong", str(report)


def test_a_small_entry_that_is_dropped_is_found():
    def gradient(x):
        return np.where(x < 1, 0, 2 * x)

    report = fcnet.check_gradient(gradient, lambda x: (x**2).sum(), np.array([1e-14, 3.0]))
    assert [finding.kind for finding in report.findings] == ["dropped"]


class Counter:
    """Right at first, then not: it adds up."""

    def __init__(self):
        self.total = 0

    def __call__(self, x):
        self.total = self.total + 2 * x
        return self.total


def noisy(draw):
    return lambda x: 2 * x * (1 + 1e-3 * draw.uniform(size=x.shape))


def fails_later():
    calls = []

    def gradient(x):
        calls.append(x)
        if len(calls) > 1:
            raise RuntimeError("once only")
        return 2 * x

    return gradient


MANNERS = {
    "adds up between calls": (Counter, "stateful"),
    "random": (lambda: noisy(np.random.default_rng(0)), "nondeterministic"),
    "raises": (lambda: lambda x: 1 / 0, "raises"),
    "raises the second time": (fails_later, "stateful"),
}


@pytest.mark.parametrize("name", MANNERS)
def test_bad_manners_are_findings(name):
    make, kind = MANNERS[name]
    report = fcnet.check_gradient(make(), lambda x: jnp.sum(x**2), np.array([1.0, -2.0, 3.0]))
    assert report.verdict == "wrong"
    assert kind in [finding.kind for finding in report.findings], str(report)


@pytest.mark.parametrize("slip", [False, True])
def test_a_layer_that_works_in_its_argument_is_warned(slip):
    """As ReLU layers do with the gradient from above, which no one needs afterwards."""

    def relu_backward(dout, x):
        dout[x <= 0] = 0
        return np.maximum(x, 0), dout * (2 if slip else 1)

    x, dout = np.random.default_rng(0).normal(size=(2, 3, 4))
    report = fcnet.check_gradient(relu_backward, lambda d, x: (jax.nn.relu(x) * d).sum(), dout, x)
    assert report.ok != slip, str(report)
    assert ("mutates_inputs", "warning") in [(f.kind, f.severity) for f in report.findings]


def test_the_gradient_may_be_that_of_every_argument():
    def function(x, n, y):
        return jnp.sum(x * y) * n

    x, y = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    report = fcnet.check_gradient(lambda x, n, y: (y * n, None, x * n), function, x, 3, y)
    assert report.ok
    assert [leaf.path for leaf in report.leaves] == ["x", "y"]
    wrong = fcnet.check_gradient(lambda x, n, y: (y * n, None, x), function, x, 3, y)
    assert [finding.kind for finding in wrong.findings] == ["scaled"]


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_jax_and_torch_functions_are_checked(library):
    def function(x, w):
        return jnp.sum(jnp.tanh(w * x))

    if library == "torch":
        torch = pytest.importorskip("torch")
        x, w = torch.tensor([0.5, -0.25]), torch.tensor([1.5, 2.5])

        def gradient(x, w):
            return w * (1 - torch.tanh(w * x) ** 2)
    else:
        x, w = jnp.array([0.5, -0.25]), jnp.array([1.5, 2.5])
        gradient = jax.jit(lambda x, w: w * (1 - jnp.tanh(w * x) ** 2))

    assert fcnet.check_gradient(gradient, function, x, w).ok
    wrong = fcnet.check_gradient(lambda x, w: gradient(x, w) / w, function, x, w)
    assert wrong.verdict == "wrong"


@pytest.mark.parametrize(
    ("error", "match", "function", "x"),
    [
        (TypeError, "scalar", lambda x: x, np.ones(2)),
        (TypeError, r"function .* \(jnp, not np\)", lambda x: np.sin(x).sum(), np.ones(2)),
        (TypeError, "nothing has a gradient", lambda x: 1.0 * x, 3),
        (ValueError, "x must be finite", lambda x: jnp.sum(x), np.array([np.nan])),
    ],
)
def test_bad_arguments_are_refused(error, match, function, x):
    with pytest.raises(error, match=match):
        fcnet.check_gradient(np.ones_like, function, x)


def test_the_gradient_is_called_few_times():
    calls = []

    def gradient(x):
        calls.append(x)
        return 2 * x

    report = fcnet.check_gradient(gradient, lambda x: jnp.sum(x**2), np.ones(3))
    assert report.ok
    assert len(calls) <= 10 * len(report.cases)
    assert len(calls) <= 12


def test_a_program_that_mixes_precisions_is_right_and_said():
    """NumPy's `@` makes float32 of bfloat16: the program rounds the constant 0.2 once and for all.

    That error is the same on every input, more than TensorFloat-32 explains, less than bfloat16.
    """

    def penalised(W, b, v, x):
        return jnp.dot(v, jnp.tanh(W @ x + b)) ** 2 / 2 + 0.1 * jnp.sum(W**2)

    def mixed(W, b, v, x):
        number = W.dtype.type
        hidden = np.tanh(W @ x + b)
        delta = np.dot(v, hidden) * v * (number(1) - hidden * hidden)
        return np.outer(delta, x) + number(0.2) * W

    draw = np.random.default_rng(0)
    args = [draw.normal(size=size).astype("bfloat16") for size in ((4, 3), 4, 4, 3)]
    report = fcnet.check_gradient(mixed, penalised, *args)
    assert report.verdict == "right", str(report)
    assert report.precision == "bfloat16"
    doubled = fcnet.check_gradient(lambda *args: 2 * mixed(*args), penalised, *args)
    assert doubled.verdict == "wrong"


def test_a_constant_that_is_added_is_named_where_the_gradient_is_small():
    def gradient(x):
        return 3 * x**2 + 0.3

    x = np.array([1e-6, -2.0, 0.5])
    report = fcnet.check_gradient(gradient, lambda x: jnp.sum(x**3), x)
    assert [finding.kind for finding in report.findings] == ["adds_constant"]


def test_a_gradient_that_takes_its_arguments_apart_is_told():
    def taking(params, x, y):
        gradient = by_hand(params, x, y)
        params.pop("W")
        return gradient

    report = fcnet.check_gradient(taking, function, *arguments())
    assert "mutates_inputs" in {finding.kind for finding in report.findings}


def test_a_gradient_that_leaves_the_program_is_told():
    def leaving(params, x, y):
        raise SystemExit(3)

    report = fcnet.check_gradient(leaving, function, *arguments())
    assert [finding.kind for finding in report.findings] == ["raises"]
    assert report.verdict == "wrong"


def valued(x, w):
    """A scalar function of two arrays, and its gradient with respect to x."""
    return jnp.sum(jnp.sin(x) * w)


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
@pytest.mark.parametrize("style", ["d{}", "grad_{}", "{}_grad"])
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
    layers = [{"W": r.normal(size=(3, 2)), "b": r.normal(size=2)} for _ in range(2)]
    x = r.normal(size=(4, 3))
    for form in (gradient, lambda *args: gradient(*args)[0]):
        report = fcnet.check_gradient(form, function, layers, x)
        assert [(f.kind, "b']" in f.message) for f in report.findings] == [("sign", False)] * slip


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


def test_other_containers_are_described_in_words():
    report = fcnet.check_gradient(lambda x, w: {"z": np.cos(x) * w}, valued, np.ones(2), np.ones(2))
    assert report.findings[0].message == (
        "the gradient is a dict with z, expected an array, like x, alone or as (value, gradient); "
        "or a tuple of 2 gradients, one for each argument; or a dict by the names of arguments, "
        "such as dx, dw"
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
