"""`fcnet.check_gradient`: functions that JAX knows to few digits, not everywhere, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import fcnet

pytestmark = pytest.mark.untyped

SPECIAL = {
    "lgamma": (lambda x: jax.lax.lgamma(x).sum(), scipy.special.psi),
    "digamma": (lambda x: jax.lax.digamma(x).sum(), lambda x: scipy.special.polygamma(1, x)),
    "polygamma": (
        lambda x: jax.scipy.special.polygamma(1, x).sum(),
        lambda x: scipy.special.polygamma(2, x),
    ),
    "beta": (
        lambda x: jax.scipy.special.betaln(x, 1.5).sum(),
        lambda x: scipy.special.psi(x) - scipy.special.psi(x + 1.5),
    ),
    "gamma": (
        lambda x: jnp.exp(jax.lax.lgamma(x)).sum(),
        lambda x: scipy.special.gamma(x) * scipy.special.psi(x),
    ),
}
"""Functions that JAX computes to fewer digits than its arithmetic, and their derivatives."""


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions_are_no_less_precise_than_others(name):
    function, slope = SPECIAL[name]
    x = np.random.default_rng(0).uniform(0.3, 3, 5)
    report = fcnet.check_gradient(slope, function, x)
    assert report.verdict == "right", str(report)
    assert report.findings == ()
    nearly = fcnet.check_gradient(lambda x: slope(x) * (1 + 1e-12), function, x)
    assert nearly.verdict == "wrong"


def test_where_the_right_gradient_is_not_finite_a_note_says_so():
    X = np.array([[3.0, 4.0], [0.0, 0.0]])

    def norms(X):
        return jnp.linalg.norm(X, axis=1).sum()

    def gradient(X):
        return X / np.maximum(np.linalg.norm(X, axis=1), 1e-9)[:, None]

    report = fcnet.check_gradient(gradient, norms, X)
    assert report.verdict == "right"
    assert "on your input, 2 of the 4 right numbers of X are not finite" in report.notes[0]


WEIGHTS = np.random.default_rng(5).normal(size=(3, 3))


def quadratic(x):
    return jnp.sum(WEIGHTS * jnp.sin(x)) if x.ndim == 2 else x @ WEIGHTS @ x


def of_lower_triangle(A):
    """What there is of a symmetric matrix, if it is read from its lower triangle."""
    G = WEIGHTS * np.cos(A)
    return np.tril(G + G.T) - np.diag(np.diag(G))


def along_the_sphere(q):
    g = (WEIGHTS + WEIGHTS.T) @ q
    return g - (q @ g) * q


TANGENT = {
    "symmetric": (of_lower_triangle, WEIGHTS + WEIGHTS.T, "A is symmetric"),
    "norm 1": (along_the_sphere, np.array([0.6, 0.0, -0.8]), "the norm of q is 1"),
}


@pytest.mark.parametrize("name", TANGENT)
def test_a_gradient_along_what_is_kept_is_told_from_a_mistake(name):
    gradient, x, holds = TANGENT[name]
    names = {"A": lambda A: quadratic(A), "q": lambda q: quadratic(q)}
    function = names["A" if x.ndim == 2 else "q"]
    report = fcnet.check_gradient(gradient, function, x)
    assert report.verdict == "wrong"
    assert [finding.kind for finding in report.findings] == ["tangent"], str(report)
    assert f"after which still {holds}, and not for others" in report.findings[0].message
    wrong = fcnet.check_gradient(lambda x: gradient(x) * np.arange(1, 4), function, x)
    assert "tangent" not in [finding.kind for finding in wrong.findings]
    free = fcnet.check_gradient(gradient, function, x + np.arange(3) / 7)
    assert "tangent" not in [finding.kind for finding in free.findings]


def test_an_error_that_is_small_is_no_slip_in_a_formula():
    def gelu(x):
        return jax.nn.gelu(x, approximate=False).sum()

    def gradient(x, root=0.3989):
        return scipy.special.ndtr(x) + x * root * np.exp(-x * x / 2)

    x = np.random.default_rng(0).normal(size=7)
    report = fcnet.check_gradient(gradient, gelu, x)
    assert [finding.kind for finding in report.findings] == ["inexact"]
    assert "or a constant of few digits" in report.findings[0].message
    assert fcnet.check_gradient(lambda x: gradient(x, (2 * np.pi) ** -0.5), gelu, x).ok


def test_an_error_near_rounding_is_no_factor():
    """As of an epsilon of 1e-16: any edit that changes little would explain it."""

    def gradient(x):
        return np.cos(x) * (1 + factor)

    x = np.full(5, 0.7)
    factor = 1.5 * fcnet.check_gradient(np.cos, lambda x: jnp.sin(x).sum(), x).leaves[0].tolerance
    report = fcnet.check_gradient(gradient, lambda x: jnp.sin(x).sum(), x)
    assert [finding.kind for finding in report.findings] == ["inexact"], str(report)


def test_a_function_without_a_derivative_is_refused():
    def until_small(x):
        return jax.lax.while_loop(lambda s: s > 1, lambda s: s / 2, x.sum())

    with pytest.raises(TypeError, match="function must have a derivative that JAX finds"):
        fcnet.check_gradient(np.ones_like, until_small, np.ones(3))
