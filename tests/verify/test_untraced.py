"""`fcnet.check_gradient` of functions that JAX cannot trace: NumPy, `math`, loops and branches.

| call | oracle |
|---|---|
| right gradients, with kinks, noise, zeros and several units | closed forms; "right" to 8 digits |
| the same with a slip | "wrong", and the slip's name |
| differences of functions of one number | their derivatives; the error within its bound |
| functions of rounded values, with solvers, without values nearby | no false verdict, and advice |
| functions that return no scalar, raise, are random, or have too many numbers | an error in words |
"""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import fcnet
from fcnet.verify.truth.differences import Differences

pytestmark = pytest.mark.untyped

DRAW = np.random.default_rng(3)
X, LABELS, W = DRAW.normal(size=(20, 4)), np.arange(20.0) % 2, DRAW.normal(size=4)
POINT = np.array([1.3, 0.7, 0.8, 1.9])


def rosenbrock(x):
    total = 0.0
    for here, after in itertools.pairwise(map(float, x)):
        total += 100 * (after - here**2) ** 2 + (1 - here) ** 2
    return total


def rosenbrock_gradient(x, slip=400):
    g = np.zeros_like(x)
    g[:-1] = -slip * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return g


def logistic(w, X, y):
    p = 1 / (1 + np.exp(-(X @ w)))
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)) + 0.05 * np.sum(w**2)


def logistic_gradient(w, X, y, slip=0.1):
    return X.T @ (1 / (1 + np.exp(-(X @ w))) - y) / len(y) + slip * w


def huber(w, X, y):
    return sum(r * r / 2 if abs(r) < 1 else abs(r) - 0.5 for r in X @ w - y)


def huber_gradient(w, X, y, slip=1.0):
    return X.T @ np.clip(X @ w - y, -slip, slip)


def of_units(state):  # joules and kelvins
    return math.log(state[0]) * 1e9 + math.exp(-state[1] / 300)


def of_units_gradient(state, slip=1.0):
    return np.array([1e9 / state[0], -slip * math.exp(-state[1] / 300) / 300])


def largest(x):
    buffer = np.zeros(len(x))
    for i, entry in enumerate(x):
        buffer[i] = entry**2
    return buffer.max()


def largest_gradient(x, slip=2.0):
    return slip * x * (np.arange(len(x)) == np.argmax(x**2))


def in_float32(x):
    return float(np.sum(np.sin(x.astype(np.float32)) ** 2))


def in_float32_gradient(x, slip=2.0):
    return slip * np.sin(x) * np.cos(x)


def of_zeros(w, X, y):
    return float(np.sum((X @ w - y) ** 2) + 0.5 * np.sum(np.square(w)))


def of_zeros_gradient(w, X, y, slip=1.0):
    return 2 * X.T @ (X @ w - y) + slip * w


CASES = {
    "a loop": (rosenbrock, rosenbrock_gradient, (POINT,), 399.99),
    "NumPy": (logistic, logistic_gradient, (W, X, LABELS), 0.2),
    "branches": (huber, huber_gradient, (W, X, LABELS), 1.1),
    "two units": (of_units, of_units_gradient, (np.array([2e6, 250.0]),), 1.5),
    "a buffer": (largest, largest_gradient, (POINT,), 2.001),
    "float32 inside": (in_float32, in_float32_gradient, (POINT,), 2.1),
    "zeros": (of_zeros, of_zeros_gradient, (np.zeros(4), X, LABELS), 2.0),
}


@pytest.mark.parametrize("case", CASES)
def test_a_right_gradient_is_right(case):
    function, gradient, args, _ = CASES[case]
    report = fcnet.check_gradient(gradient, function, *args)
    assert report.verdict == "right", str(report)
    assert report.findings == ()
    (leaf,) = report.leaves
    assert leaf.digits_expected > (2 if case == "float32 inside" else 6)
    assert report.notes[-1].startswith(
        "JAX cannot trace the function, so differences of its values"
    )


@pytest.mark.parametrize("case", CASES)
def test_a_slip_is_wrong(case):
    function, gradient, args, slip = CASES[case]
    report = fcnet.check_gradient(lambda *args: gradient(*args, slip=slip), function, *args)
    assert report.verdict == "wrong", str(report)


def test_a_slip_is_named():
    def gradient(w, X, y):
        return logistic_gradient(w, X, y, slip=0.2)

    (finding,) = fcnet.check_gradient(gradient, logistic, W, X, LABELS).findings
    assert finding.kind == "adds_argument"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrow_arrays_are_judged_to_their_digits(dtype):
    args = [np.asarray(x, dtype) for x in (W, X, LABELS)]
    assert fcnet.check_gradient(logistic_gradient, logistic, *args).verdict == "right"

    def doubled(w, X, y):
        return logistic_gradient(w, X, y, slip=np.asarray(0.2, dtype))

    assert fcnet.check_gradient(doubled, logistic, *args).verdict == "wrong"


def test_at_a_kink_any_slope_in_between_is_right():
    def function(x):
        return sum(math.fabs(entry) for entry in x) + x[0] ** 2

    x = np.array([0.5, 0.0, -2.0])
    for slope in (-1.0, 0.0, 0.5, 1.0, 2.5):

        def gradient(x, slope=slope):
            return np.where(x == 0, slope, np.sign(x)) + 2 * x * (x == x[0])

        found = fcnet.check_gradient(gradient, function, x)
        assert found.verdict == ("right" if abs(slope) <= 1 else "wrong"), str(found)


def test_the_value_is_judged_too():
    def both(w, X, y, factor=1.0):
        return factor * logistic(w, X, y), logistic_gradient(w, X, y)

    assert fcnet.check_gradient(both, logistic, W, X, LABELS).verdict == "right"
    wrong = fcnet.check_gradient(lambda *args: both(*args, factor=2.0), logistic, W, X, LABELS)
    assert [finding.quantity for finding in wrong.findings] == ["J"]


def test_gradients_of_several_arguments():
    def function(params, x):
        return float(np.tanh(params["W"] @ x + params["b"]).sum())

    def gradient(params, x, slip=1.0):
        d = 1 - np.tanh(params["W"] @ x + params["b"]) ** 2
        return {"W": np.outer(d, x), "b": slip * d}, params["W"].T @ d

    args = {"W": DRAW.normal(size=(3, 4)), "b": DRAW.normal(size=3)}, DRAW.normal(size=4)
    assert fcnet.check_gradient(gradient, function, *args).verdict == "right"
    wrong = fcnet.check_gradient(lambda *a: gradient(*a, slip=2.0), function, *args)
    assert [finding.kind for finding in wrong.findings] == ["factor_2"]


def test_what_jax_can_trace_is_judged_to_all_digits():
    report = fcnet.check_gradient(lambda x: np.cos(x), lambda x: jnp.sin(x).sum(), POINT)
    assert report.leaves[0].digits_expected > 14
    assert not any("differences" in note for note in report.notes)


FUNCTIONS = {
    "sin": (math.sin, math.cos),
    "a fast sine": (lambda x: math.sin(50 * x), lambda x: 50 * math.cos(50 * x)),
    "exp": (math.exp, math.exp),
    "the inverse": (lambda x: 1 / x, lambda x: -1 / x**2),
    "a power": (lambda x: abs(x) ** 2.5, lambda x: 2.5 * math.copysign(abs(x) ** 1.5, x)),
    "a kink at 1": (lambda x: abs(x - 1), lambda x: math.copysign(1, x - 1)),
    "a sum that cancels": (lambda x: 1e6 + x**3, lambda x: 3 * x**2),
    "rounded": (lambda x: float(np.float32(math.sin(x))), math.cos),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(x=st.floats(1e-3, 1e2), negative=st.booleans())
def test_the_error_of_a_difference_is_within_its_bound(name, x, negative):
    function, derivative = FUNCTIONS[name]
    x = -x if negative else x
    differences = Differences(lambda case: function(float(case[0])), (0,), with_value=False)
    (value,), (error,) = (f((np.array(x),)) for f in (differences.values, differences.errors))
    assert abs(value - derivative(x)) <= error
    if name in ("sin", "exp", "the inverse", "a power"):
        assert error <= 1e-6 * max(abs(derivative(x)), abs(function(x) / x))


def test_no_multiple_of_a_rounding_hides_the_noise():
    """At this point values 1e-7 apart, relatively, are whole numbers of roundings apart."""

    def function(case):
        return 2.1 * float(np.float32(math.sin(case[0]))) + float(case[0])

    x = 0.31426419008873474
    assert Differences(function, (0,), with_value=False)._noise((np.array(x),)) > 1e-9


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e5, 1e6, 1e7, 1e9])
@pytest.mark.parametrize("seed", range(3))
def test_fast_waves_are_followed_or_nothing_is_told(scale, seed):
    """Differences of steps longer than a wave may agree by chance, and are no derivative."""
    x = scale * np.random.default_rng(seed).uniform(0.5, 1.5, 3)

    def verdict(slip):
        gradient = lambda x: slip * np.cos(x)  # noqa: E731
        return fcnet.check_gradient(gradient, lambda x: math.fsum(np.sin(np.asarray(x))), x).verdict

    assert (verdict(1.0), verdict(1.3)) in {("right", "wrong"), ("cannot tell", "cannot tell")}
    assert verdict(1.0) == "right" or scale > 1e5


def test_a_number_of_which_nothing_is_known_hides_no_other():
    """The function has no value where the first number is less than 0."""
    differences = Differences(
        lambda case: math.fsum(map(math.sqrt, case[0])) if case[0][0] >= 0 else math.nan,
        (0,),
        with_value=False,
    )
    case = (np.array([0.0, 1.0, 4.0]),)
    (right,), (sigma,), _ = differences.spread(case, 0.0, rounded=False)
    np.testing.assert_allclose(right[1:], [1 / 2, 1 / 4], rtol=1e-9)
    assert (sigma[1:] <= 1).all()
    assert np.isinf(differences.errors(case)[0][0])


def test_the_value_of_fast_waves_is_judged():
    def both(x, factor=1.0):
        return factor * math.fsum(np.sin(x)), np.cos(x)

    x = 1e9 * np.array([1.3, 0.7])
    function = lambda x: math.fsum(np.sin(np.asarray(x)))  # noqa: E731
    assert fcnet.check_gradient(both, function, x).verdict != "wrong"
    wrong = fcnet.check_gradient(lambda x: both(x, factor=1.5), function, x)
    assert [finding.quantity for finding in wrong.findings] == ["J"]


def test_a_jump_at_the_point_shows_nothing():
    x = np.array([0.0, 1e-5, -1e-6, 1.0])
    report = fcnet.check_gradient(np.zeros_like, lambda x: math.fsum(np.sign(np.asarray(x))), x)
    assert report.verdict != "wrong", str(report)


@pytest.mark.parametrize("digits", [2, 3, 4, 5, 6])
def test_rounded_values_are_stairs(digits):
    """Either the slope of a stair is right, 0, or that of the staircase: it cannot be told."""

    def function(x):
        return round(math.fsum(np.sin(np.asarray(x)) ** 2), digits)

    x = np.array([0.4, 0.9, 1.3])
    verdicts = {
        slip: fcnet.check_gradient(lambda x, slip=slip: slip * np.sin(2 * x), function, x).verdict
        for slip in (1.0, 2.5)
    }
    assert verdicts[1.0] == ("right" if digits > 4 else "cannot tell")
    assert verdicts[2.5] == "wrong" or digits < 3


@pytest.mark.parametrize("x", [[0.4, 0.9, 1.3], [2.0, 3.0, 4.0]])
def test_the_integer_0_of_a_maximum_is_a_value(x):
    def hinge(x):
        return sum(max(0, 1 - entry) for entry in x)

    x = np.array(x)
    slopes = -1.0 * (x < 1)
    assert fcnet.check_gradient(lambda x: slopes, hinge, x).verdict != "wrong"
    assert fcnet.check_gradient(lambda x: slopes - 0.1, hinge, x).verdict == "wrong"


def decay(x):
    """The solution of y' = -a y + b, y(0) = 1, at 2, to about six digits."""
    solved = solve_ivp(lambda t, y: [-x[0] * y[0] + x[1]], (0, 2), [1.0], rtol=1e-6, atol=1e-9)
    return float(solved.y[0, -1])


def decay_gradient(x, slip=1.0):
    (a, b), e = x, math.exp(-2 * x[0])
    return np.array([e * (-2 * (1 - b / a) + b / a**2) - b / a**2, slip * (1 - e) / a])


def test_the_tolerance_of_a_solver_is_named():
    x = np.array([1.3, 0.7])
    (finding,) = fcnet.check_gradient(decay_gradient, decay, x).findings
    assert finding.kind == "inexact"
    assert "the tolerance of a solver in it: make that smaller" in finding.message


@pytest.mark.parametrize("x", [[1.5, 0.9], [1.0, 0.7], [0.5, 0.7]])
def test_a_slip_beside_an_inexact_number_is_no_rounding(x):
    """How far a difference may be off changes at random from point to point; the slip does not."""
    report = fcnet.check_gradient(lambda x: decay_gradient(x, slip=1.01), decay, np.array(x))
    assert report.verdict == "wrong", str(report)


def test_without_values_nearby_nothing_is_known():
    def entropy(p):
        p = np.asarray(p)
        if abs(p.sum() - 1) > 1e-9:
            raise ValueError("the probabilities must sum to 1")
        return float(-np.sum(p * np.log(p)))

    report = fcnet.check_gradient(lambda p: -np.log(p) - 1, entropy, np.array([0.2, 0.3, 0.5]))
    assert report.verdict == "cannot tell"
    assert any("the function has no value at points beside it" in note for note in report.notes)
    assert "digits:" not in report.notes[-1]


def test_what_has_no_real_scalar_is_refused():
    with pytest.raises(
        TypeError, match=r"^function must return a finite real number of shape \(\), got array\(\["
    ):
        fcnet.check_gradient(np.cos, lambda x: np.sin(np.array(x)), POINT)
    with pytest.raises(
        TypeError, match="function cannot be called with the arguments: it raised ZeroDivisionE"
    ):
        fcnet.check_gradient(np.cos, lambda x: 1 / 0, POINT)
    draw = np.random.default_rng(0)
    with pytest.raises(ValueError, match="function returns another value each time"):
        fcnet.check_gradient(np.cos, lambda x: float(draw.normal() + np.asarray(x).sum()), POINT)
    many = np.ones(3000)
    with pytest.raises(ValueError, match=r"function has 3,000 derivatives, .* with 2,000 at most"):
        fcnet.check_gradient(np.cos, lambda x: float(np.sin(np.asarray(x)).sum()), many)
