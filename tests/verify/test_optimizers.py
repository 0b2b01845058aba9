"""Gradients as they are written for optimizers: starts in lists, one array, Jacobians."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import fcnet

# Untyped: the type checker would reject some of what is refused here.
pytestmark = pytest.mark.untyped


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def of_rosenbrock(x, slip=1):
    x = np.asarray(x)
    d = np.zeros_like(x)
    d[:-1] = -400 * slip * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    d[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return d


FORMS = {
    "an array": lambda d: d,
    "a list": list,
    "numbers of Python": lambda d: d.tolist(),
}
START = [1.3, 0.7, 0.8, 1.9]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", [list, tuple, np.array])
@pytest.mark.parametrize("slip", [1, 2], ids=["right", "wrong"])
def test_a_start_may_be_a_list_of_numbers(form, start, slip):
    def gradient(x):
        return FORMS[form](of_rosenbrock(x, slip))

    report = fcnet.check_gradient(gradient, rosenbrock, start(START))
    assert report.verdict == ("right" if slip == 1 else "wrong"), str(report)


@pytest.mark.parametrize("with_value", [False, True])
@pytest.mark.parametrize("slip", [1, 2], ids=["right", "wrong"])
def test_the_derivatives_by_several_numbers_may_come_in_one_array(with_value, slip):
    def function(a, b):
        return a**2 + jnp.sin(a * b)

    def gradient(a, b):
        slope = np.cos(a * b)
        d = np.array([2 * a + b * slope, slip * a * slope])
        return (a**2 + np.sin(a * b), d) if with_value else d

    report = fcnet.check_gradient(gradient, function, 0.3, 2.2)
    kinds = [(finding.kind, finding.message) for finding in report.findings]
    assert kinds == [("factor_2", "the gradient of b is 2 times what it must be")] * (slip == 2)
    assert [leaf.path for leaf in report.leaves][:2] == ["a", "b"]


CONTAINERS = {
    "csr_array": scipy.sparse.csr_array,
    "coo_matrix": scipy.sparse.coo_matrix,
    "matrix": np.matrix,
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("slip", [1, 2], ids=["right", "wrong"])
def test_a_gradient_may_be_sparse_or_a_matrix(name, slip):
    x = np.array([[1.5, -0.3, 0.7], [0.2, 0.9, -1.1]])
    made = CONTAINERS[name]
    report = fcnet.check_gradient(lambda x: made(slip * 2 * x), lambda x: jnp.sum(x**2), x)
    assert [finding.kind for finding in report.findings] == ["factor_2"] * (slip == 2)


@pytest.mark.parametrize("made", [np.matrix, scipy.sparse.csr_matrix])
def test_a_matrix_for_a_vector_is_told(made):
    x = np.array([1.5, -0.3, 0.7])
    report = fcnet.check_gradient(lambda x: made(2 * x), lambda x: jnp.sum(x**2), x)
    (finding,) = report.findings
    assert finding.message.endswith("axes of length 1 broadcast silently")


@pytest.mark.parametrize("count", [3, 3.0, np.float32(3), np.array(3)])
@pytest.mark.parametrize("slip", [1, 2], ids=["right", "wrong"])
def test_several_numbers_may_come_before_the_gradient(count, slip):
    """As the sum of a loss and the number of its terms."""

    def gradient(x, y):
        return (x * y).sum(), count, slip * y

    x, y = np.array([1.5, -0.3, 0.7]), np.array([0.2, 0.9, -1.1])
    report = fcnet.check_gradient(gradient, lambda x, y: jnp.sum(x * y), x, y)
    assert [finding.kind for finding in report.findings] == ["factor_2"] * (slip == 2)
    assert report.notes[-1] == "entries 0, 1 of the result were not judged"


def test_a_number_that_may_be_a_gradient_is_not_left_out():
    x, s = np.array([1.5, -0.3, 0.7]), 0.4
    report = fcnet.check_gradient(
        lambda x, s: ((s * x).sum(), x.sum() + 1, s * np.ones(3)),
        lambda x, s: jnp.sum(s * x),
        *(x, s),
    )
    assert report.verdict == "wrong", str(report)


def test_a_hessian_beside_a_gradient_is_told():
    def gradient(x, y):
        return 2 * x * y, 2 * np.diag(y)

    x, y = np.array([1.5, -0.3, 0.7]), np.array([0.2, 0.9, -1.1])
    report = fcnet.check_gradient(gradient, lambda x, y: jnp.sum(x**2 * y), x, y)
    assert report.findings[0].message.endswith("if it is a Hessian, leave it out")
    alone = fcnet.check_gradient(lambda x: gradient(x, y), lambda x: jnp.sum(x**2 * y), x)
    assert alone.ok


def test_a_gradient_that_is_written_into_an_argument_is_told():
    def of_nlopt(x, grad):
        grad[:] = 2 * x
        return x @ x

    x = np.array([1.5, -0.3, 0.7])
    report = fcnet.check_gradient(of_nlopt, lambda x, grad: jnp.sum(x**2), x, np.zeros(3))
    assert report.findings[-1].message.endswith("a gradient that is written there must be returned")
    with pytest.raises(
        TypeError, match=r"be called as of_nlopt\(x\). Wrap it: lambda x: ..., with"
    ):
        fcnet.check_gradient(of_nlopt, lambda x: jnp.sum(x**2), x)


def test_a_jacobian_is_told_how_to_be_checked():
    x = np.array([1.5, -0.3, 0.7])
    with pytest.raises(TypeError, match=r"jnp.sum\(v \* residuals\(x\)\) beside v @ jacobian\(x\)"):
        fcnet.check_gradient(lambda x: np.diag(2 * x), lambda x: x**2, x)
    v = np.array([0.4, -1.3, 0.8])
    checked = fcnet.check_gradient(lambda x: v @ np.diag(2 * x), lambda x: jnp.sum(v * x**2), x)
    assert checked.ok


PARTS = {
    "a slice, times 2": (lambda d, x: np.r_[d[:1], 2 * d[1:]], "factor_2", " at [1:6] only"),
    "a slice, with a penalty": (
        lambda d, x: np.r_[d[:2], d[2:] + 0.3 * x[2:]],
        "adds_argument",
        "as of an L2 penalty at [2:6] only",
    ),
    "a slice, in another way": (
        lambda d, x: np.r_[d[:2], d[2:] ** 2],
        "unknown",
        "; it is wrong at [2:6] only",
    ),
    "two entries, halved": (
        lambda d, x: np.array([1, 0.5, 1, 1, 0.5, 1]) * d,
        "factor_half",
        " at [1], [4] only",
    ),
    "two entries": (
        lambda d, x: d + np.array([0, 1, 0, 0, x[0], 0]),
        "places",
        " must be, for instance at [1]",
    ),
    "one entry": (lambda d, x: d + np.array([0, 0, x[0], 0, 0, 0]), "places", " must be"),
    "one entry, 0": (lambda d, x: d * [1, 1, 0, 1, 1, 1], "dropped", " is 0 at [2] only"),
}
"""Of several parameters in one vector, those of one are wrong."""


@pytest.mark.parametrize("name", PARTS)
def test_the_part_of_a_vector_that_is_wrong_is_told_with_its_mistake(name):
    slip, kind, end = PARTS[name]
    W, x = np.random.default_rng(0).normal(size=(4, 6)), np.array([0.4, -1.2, 2.1, 0.7, -0.3, 1.6])
    report = fcnet.check_gradient(
        lambda x: slip(W.T @ np.cos(W @ x), x), lambda x: jnp.sum(jnp.sin(W @ x)), x
    )
    (finding,) = report.findings
    assert finding.kind == kind
    assert finding.message.endswith(end), finding.message


OBJECTIVES = {
    (float, 1): ["second_derivative"],
    (float, 2): ["factor_2", "unknown"],
    (int, 1): ["integer_leaf"],
    (int, 2): ["factor_2", "integer_leaf"],
}
"""The findings by the dtype of the labels, and the factor of the gradient."""


@pytest.mark.parametrize(("dtype", "slip"), OBJECTIVES)
def test_the_second_derivative_beside_the_gradient_is_told(dtype, slip):
    """A booster takes both for each prediction; labels may be numbers with a gradient."""

    def objective(margin, y):
        p = 1 / (1 + np.exp(-margin))
        return slip * (p - y), p * (1 - p)

    def function(margin, y):
        return jnp.sum(jnp.logaddexp(0, margin) - y * margin)

    margin, y = np.array([0.3, -1.7, 2.2, 0.6]), np.array([0, 1, 1, 0], dtype)
    report = fcnet.check_gradient(objective, function, margin, y)
    assert sorted(finding.kind for finding in report.findings) == OBJECTIVES[dtype, slip]
    assert report.ok == (dtype is int and slip == 1)
    first = fcnet.check_gradient(lambda m, y: objective(m, y)[0], function, margin, y)
    assert [finding.kind for finding in first.findings] == ["factor_2"] * (slip == 2)


def test_the_second_derivative_after_labels_is_told():
    """As where a booster is called with the labels first, which have no gradient."""

    def objective(y, margin):
        p = 1 / (1 + np.exp(-margin))
        return p - y, p * (1 - p)

    def function(y, margin):
        return jnp.sum(jnp.logaddexp(0, margin) - y * margin)

    y, margin = np.array([0, 1, 1, 0]), np.array([0.3, -1.7, 2.2, 0.6])
    report = fcnet.check_gradient(objective, function, y, margin)
    assert report.findings[-1].kind == "second_derivative", str(report)
    assert fcnet.check_gradient(lambda *args: objective(*args)[0], function, y, margin).ok


@pytest.mark.parametrize("slip", [1, 2])
@pytest.mark.parametrize("with_value", [False, True])
def test_both_derivatives_after_labels_of_real_numbers_are_told_once(with_value, slip):
    def function(y, margin):
        return jnp.sum(jnp.logaddexp(0, margin) - y * margin)

    def objective(y, margin):
        p = 1 / (1 + np.exp(-margin))
        value = (float(function(y, margin)),) * with_value
        return (*value, slip * (p - y), p * (1 - p))

    y, margin = np.array([0.1, 1.0, 0.7, 0.0]), np.array([0.3, -1.7, 2.2, 0.6])
    report = fcnet.check_gradient(objective, function, y, margin)
    assert report.verdict == "wrong"
    kinds = [finding.kind for finding in report.findings]
    assert (kinds == ["second_derivative"]) is (slip == 1), str(report)
    assert slip > 1 or report.findings[0].message.endswith("return {'dmargin': ...}")


def test_a_small_derivative_beside_a_large_one_is_no_rounding():
    """A vector of several units: the energy in joules, and the temperature."""
    k = 1.380649e-23

    def function(p):
        return jnp.log1p(jnp.exp(-p[0] / (k * p[1])))

    def gradient(p, power=2):
        b = np.exp(-p[0] / (k * p[1]))
        s = b / (1 + b)
        return np.array([-s / (k * p[1]), s * p[0] / (k * p[1] ** power)])

    p = [2e-21, 300.0]
    assert fcnet.check_gradient(gradient, function, p).ok
    (finding,) = fcnet.check_gradient(lambda p: gradient(p, 1), function, p).findings
    assert finding.kind == "places"
    assert "is wrong at [1] only" in finding.message
    (finding,) = fcnet.check_gradient(lambda p: gradient(p) * [1, 0], function, p).findings
    assert finding.kind == "dropped"
