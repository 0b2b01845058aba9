"""Gradients that are right where an argument has a property: no false alarms, no faults missed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.structured_programs import STRUCTURED, softmax

import fcnet
from fcnet.verify import properties

pytestmark = pytest.mark.untyped

QUICK = (
    "one-hot rows",
    "a mask",
    "a symmetric matrix",
    "a rotation",
    "unit rows",
    "padding",
    "joint probabilities",
)

SEEDS = 7
"""For each row and precision: 364 right programs."""


def arguments(name, seed, dtype="float64"):
    draw = STRUCTURED[name].draw(np.random.default_rng(seed))
    return tuple(np.asarray(x, dtype) for x in draw)


def assert_right(name, seed, dtype):
    function, gradient, _, needs, _ = STRUCTURED[name]
    report = fcnet.check_gradient(gradient, function, *arguments(name, seed, dtype))
    assert report.verdict == "right", str(report)
    assert report.findings == ()
    limits = [note for note in report.notes if note.startswith("right where")]
    assert limits == ([f"right where {needs}; otherwise not"] if needs else []), str(report)


def stale(gradient, args, i):
    """The gradient at the user's own argument i, whatever is given: right at the user's point."""
    return lambda *given: gradient(*given[:i], args[i], *given[i + 1 :])


@pytest.mark.parametrize("name", QUICK)
def test_a_property_that_a_right_gradient_needs_is_no_error_and_is_said(name):
    assert_right(name, 0, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", STRUCTURED)
def test_no_false_alarm_on_hundreds_of_structured_programs(name, dtype):
    for seed in range(SEEDS):
        assert_right(name, seed, dtype)


def assert_stale_is_found(name):
    function, gradient, _, _, still = STRUCTURED[name]
    args = arguments(name, 0)
    for i in range(len(args)):
        report = fcnet.check_gradient(stale(gradient, args, i), function, *args)
        assert report.verdict == ("right" if i in still else "wrong"), (i, str(report))


@pytest.mark.parametrize("name", ["a symmetric matrix", "unit rows"])
def test_a_fault_that_hides_at_the_users_point_is_found_within_the_property(name):
    assert_stale_is_found(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRUCTURED)
def test_every_fault_that_hides_at_the_users_point_is_found(name):
    assert_stale_is_found(name)


@pytest.mark.parametrize("factor", [2.0, -1.0])
def test_a_fault_on_structured_arguments_is_found(factor):
    function, gradient, *_ = STRUCTURED["one-hot rows"]
    report = fcnet.check_gradient(
        lambda *args: factor * gradient(*args), function, *arguments("one-hot rows", 0)
    )
    assert report.verdict == "wrong"
    assert not [note for note in report.notes if note.startswith("right where")]


@pytest.mark.parametrize("factor", [1 + 1e-3, 1 + 1e-9])
def test_a_small_error_at_integers_is_no_rounding(factor):
    """Errors at other integers would look as random as those of a coarse format."""

    def function(x, y):
        return jnp.sum(jnp.sin(x) * y**2)

    x, y = np.array([1.0, -2.0, 3.0, 4.0]), np.array([2.0, 5.0, -3.0, 1.0])

    def right(x, y):
        return np.cos(x) * y**2

    assert fcnet.check_gradient(right, function, x, y).ok
    report = fcnet.check_gradient(lambda x, y: factor * right(x, y), function, x, y)
    assert report.verdict == "wrong", str(report)


def _shifted(x, b):
    return jnp.sum(jnp.tanh(x + b))


def test_a_bias_of_zeros_that_is_forgotten_is_noted():
    """Of b nothing is claimed: it may be 0 always."""
    x, b = np.array([0.3, -1.2, 2.4]), np.zeros(3)
    assert fcnet.check_gradient(lambda x, b: 1 - np.tanh(x + b) ** 2, _shifted, x, b).notes == ()
    report = fcnet.check_gradient(lambda x, b: 1 - np.tanh(x) ** 2, _shifted, x, b)
    assert report.notes == ("right where b is 0; otherwise not",)


STARTS = {
    "zeros": np.zeros(3),
    "a number": np.zeros(()),
    "some zeros": np.array([0, 1.5, -0.3, 0]),
    "0 and one other": np.array([0, 1.5, 0]),
    "0 and 1": np.array([0.0, 1.0]),
    "whole numbers": np.array([1.0, 2.0, -3.0]),
}


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("scale", [1, 2], ids=["right", "wrong"])
def test_where_an_optimizer_starts_nothing_hides_a_mistake(name, scale):
    """sin(pi w) is 0 at whole numbers, whatever its factor."""
    w = STARTS[name]
    is_whole = w == np.round(w)

    def function(w):
        return jnp.sum(jnp.exp(w) - jnp.cos(np.pi * w))

    def gradient(w):
        return np.exp(w) + np.where(is_whole, scale, 1) * np.pi * np.sin(np.pi * w)

    report = fcnet.check_gradient(gradient, function, w)
    assert report.verdict == ("right" if scale == 1 else "wrong"), str(report)
    hidden = "right on your input, where w is 0" in report.notes
    assert hidden is (scale == 2 and not w.any())


def test_arrays_of_equal_entries_move():
    """Ones are a first value more often than a mask: what forgets them is wrong."""

    def function(x, w):
        return jnp.sum(w * x**2)

    x, w = np.array([0.3, -1.2, 2.4]), np.ones(3)
    assert fcnet.check_gradient(lambda x, w: 2 * x * w, function, x, w).ok
    assert fcnet.check_gradient(lambda x, w: 2 * x, function, x, w).verdict == "wrong"


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_rule_is_tried_at_arguments_with_the_properties_of_the_users(factor):
    def cross_entropy(z, y):
        return -(y * jax.nn.log_softmax(z)).sum()

    @jax.custom_vjp
    def by_hand(z, y):
        return cross_entropy(z, y)

    def back(saved, g):
        z, y = saved
        return factor * g * (jax.nn.softmax(z) - y), -g * jax.nn.log_softmax(z)

    by_hand.defvjp(lambda z, y: (cross_entropy(z, y), (z, y)), back)
    r = np.random.default_rng(0)
    z, y = (jnp.asarray(x, jnp.float32) for x in (r.normal(size=(4, 3)), np.eye(3)[[0, 2, 1, 1]]))
    report = fcnet.check_vjp(by_hand, cross_entropy, z, y)
    if factor == 1:
        assert report.verdict == "right", str(report)
        assert report.notes == ("right where the rows of y sum to 1; otherwise not",)
    else:
        assert report.verdict == "wrong"


def test_an_unstable_program_has_no_limit():
    """Its digits are lost anywhere; that is no matter of properties."""

    def function(z, y):
        return -(y * jax.nn.log_softmax(z)).sum()

    def naive(z, y):
        e = np.exp(z)
        return y.sum(-1, keepdims=True) * e / e.sum(-1, keepdims=True) - y

    z = np.array([[3.0, 90.0, 1.0], [0.5, -0.5, 0.2]], np.float32)
    y = softmax(z / 50).astype(np.float32)
    report = fcnet.check_gradient(naive, function, z, y)
    assert report.verdict == "right"
    assert not [note for note in report.notes if note.startswith("right where")]


def test_zeros_beside_huge_and_infinite_numbers_move():
    """By the size of what is finite; its square would overflow, which is an error in this run."""
    x = np.array([3e200, 0.0, -np.inf])
    moved = properties.move(x, 0.1, np.random.default_rng(0), (), 2.0**-53, zeros=True)
    assert 0 < abs(moved[1]) <= 3e199
    assert abs(moved[0] / x[0] - 1) <= 0.1
    assert moved[2] == -np.inf


@pytest.mark.parametrize("start", [1.0, 0.1])
def test_a_multiple_of_the_identity_hides_nothing_off_its_diagonal(start):
    """It is a first value. What is right for symmetric matrices alone stays right, and is said."""
    A = start * np.eye(3)

    def squares(A):
        return jnp.sum(A**2)

    assert fcnet.check_gradient(lambda A: 2 * A, squares, A).notes == ()
    assert fcnet.check_gradient(lambda A: 2 * np.diag(np.diag(A)), squares, A).verdict == "wrong"
    report = fcnet.check_gradient(np.linalg.inv, lambda S: jnp.linalg.slogdet(S)[1], A)
    assert report.verdict == "right", str(report)
    assert report.notes == ("right where S is symmetric; otherwise not",)


def test_a_diagonal_matrix_that_is_given_stays_diagonal():
    w, D = np.array([0.3, -1.2, 2.4]), np.diag([1.0, 1.0, 1.0])
    report = fcnet.check_gradient(
        lambda w, D: np.diag(D) * w, lambda w, D: jnp.sum(w @ D * w) / 2, w, D
    )
    assert report.notes == ("right where D is diagonal; otherwise not",), str(report)
