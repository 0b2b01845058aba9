"""`fcnet.check_gradient`: rounding, lost digits and ties are no mistakes, and hide none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import fcnet

pytestmark = pytest.mark.untyped


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


@pytest.mark.parametrize(
    ("dtype", "factor", "verdict"),
    [("float64", 1 + 3 * 2.0**-52, "right"), ("bfloat16", 1.02, "wrong")],
)
def test_a_bias_of_a_few_roundings_is_no_mistake(dtype, factor, verdict):
    """On each input rounding explains it. On all together it does so only where it is small."""
    x = np.random.default_rng(0).normal(size=9).astype(jnp.dtype(dtype))
    report = fcnet.check_gradient(
        lambda x: (factor * np.cos(x.astype(float))).astype(x.dtype),
        lambda x: jnp.sin(x).sum(),
        x,
    )
    assert report.verdict == verdict, str(report)


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


@pytest.mark.parametrize("factor", [1, 0.98, 1.2, -1])
@pytest.mark.parametrize("steep", [50, 1500])
def test_a_steep_function_is_not_excused_by_a_format_that_has_no_digits_of_it(steep, factor):
    """Of sin(1500 x) for x near 25 arithmetic in bfloat16 leaves nothing: it explains any error."""
    x = np.random.default_rng(0).uniform(20, 30, 8)
    report = fcnet.check_gradient(
        lambda x: factor * steep * np.cos(steep * x), lambda x: jnp.sum(jnp.sin(steep * x)), x
    )
    assert report.verdict == ("right" if factor == 1 else "wrong"), str(report)
    assert not report.ok or report.findings == ()


def test_float32_inside_a_steep_function_is_right_and_said():
    x = np.random.default_rng(0).uniform(20, 30, 8)
    report = fcnet.check_gradient(
        lambda x: (50 * np.cos(50 * x.astype(np.float32))).astype(float),
        lambda x: jnp.sum(jnp.sin(50 * x)),
        x,
    )
    assert report.verdict == "right", str(report)
    assert [finding.kind for finding in report.findings] == ["low_precision"]


@pytest.mark.parametrize("factor", [1, 1.01])
@pytest.mark.parametrize("x", [1.57, 1.5708, 1.57079632])
def test_arguments_that_a_program_rounds_first_are_no_mistake(x, factor):
    """JAX makes float32 of NumPy's float64; near pi/2 the cosine of that has other digits."""
    gradient = jax.grad(lambda x: factor * jnp.sum(jnp.sin(x)))
    x = np.array([x, 0.3, 2.0])
    report = fcnet.check_gradient(gradient, lambda x: jnp.sum(jnp.sin(x)), x)
    assert report.verdict == ("right" if factor == 1 else "wrong"), str(report)
    assert not report.ok or report.findings == ()


@pytest.mark.slow
def test_bfloat16_inside_a_float64_gradient_is_seldom_called_wrong():
    def gradient(x):
        return np.asarray(jnp.cos(jnp.asarray(x, jnp.bfloat16))).astype(float)

    draws = (np.random.default_rng(seed).normal(size=8) for seed in range(40))
    reports = [fcnet.check_gradient(gradient, lambda x: jnp.sum(jnp.sin(x)), x) for x in draws]
    assert sum(report.ok for report in reports) >= 36


NUMBERS_OF_ALL_FORMATS = {
    "signs": (np.sign, lambda x: 1.004 * jnp.sum(jnp.abs(x)), "scaled"),
    "ones": (np.ones_like, lambda x: 1.003 * jnp.sum(x), "scaled"),
    "ones without a term": (
        np.ones_like,
        lambda x: jnp.sum(x) + 0.001 * jnp.sum(x**2),
        "adds_argument",
    ),
}


@pytest.mark.parametrize("name", NUMBERS_OF_ALL_FORMATS)
def test_signs_and_ones_are_no_sign_of_a_coarse_format(name):
    gradient, function, kind = NUMBERS_OF_ALL_FORMATS[name]
    x = np.array([0.3, -1.2, 2.4, -0.6, 1.9])
    report = fcnet.check_gradient(gradient, function, x)
    assert [finding.kind for finding in report.findings] == [kind], str(report)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("wide", [False, True])
def test_a_mistake_that_hides_at_ones_is_no_cancellation_elsewhere(wide, factor):
    """Errors at two of ten points, as small as the distance from ones, and as random."""

    def function(x, y):
        return x * jnp.sum(y)

    def back(saved, g):
        x, y = saved
        return g * jnp.sum(y), jnp.full(3, jnp.sum(g * x if factor == 1 else g))

    rule = jax.custom_vjp(function)
    rule.defvjp(lambda x, y: (function(x, y), (x, y)), back)
    with jax.enable_x64(wide):
        report = fcnet.check_vjp(rule, function, jnp.ones(3), jnp.ones(3))
    assert report.verdict == ("right" if factor == 1 else "wrong"), str(report)
