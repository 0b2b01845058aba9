"""Derivative rules and gradients as people write them: static arguments, keys, loops, edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet

pytestmark = pytest.mark.untyped


def draws(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def with_rule(function, back, static=()):
    """A function whose rule keeps its arguments; `back` gets them and the cotangent."""
    rule = jax.custom_vjp(function, nondiff_argnums=static)

    def start(*args):
        return function(*args), tuple(a for i, a in enumerate(args) if i not in static)

    rule.defvjp(start, back)
    return rule


def power(p, x):
    return x**p


def total(kind, x):
    return x.sum() if kind == "sum" else x.mean()


def with_noise(x, key):
    one, other = jax.random.split(key)
    return x * jax.random.normal(one, x.shape), other


def with_noise_back(saved, g):
    x, key = saved
    return g[0] * jax.random.normal(jax.random.split(key)[0], x.shape), None


def product(x, c):
    return x * c


def three_times(step):
    return lambda x, c: jax.lax.scan(lambda s, _: (step(s, c), None), x, None, length=3)[0]


def biased(x, b):
    return x + b


def largest(x):
    return x.max(), jnp.argmax(x)


def largest_back(saved, g):
    (x,) = saved
    return (jnp.zeros_like(x).at[jnp.argmax(x)].set(g[0]),)


def huber(x):
    return jnp.where(abs(x) < 1, x * x / 2, abs(x) - 0.5)


def norm(x):
    return jnp.sqrt(jnp.sum(x * x))


def norm_back(saved, g):
    (x,) = saved
    length = norm(x)
    return (g * x / jnp.where(length > 0, length, 1),)


def straight_through(x):
    return x + jax.lax.stop_gradient(jnp.round(x) - x)


scaled = with_rule(product, lambda saved, g: (g * saved[1], (g * saved[0]).sum()))
log_sum_exp = with_rule(
    lambda x: jax.nn.logsumexp(x), lambda saved, g: (g * jax.nn.softmax(saved[0]),)
)
rounded = with_rule(lambda x: jnp.round(x), lambda saved, g: (g,))
turned = with_rule(lambda x: 1 * x, lambda saved, g: (-g,))

RULES = {
    "a static number": (
        with_rule(power, lambda p, saved, g: (g * p * saved[0] ** (p - 1),), static=(0,)),
        power,
        (3, abs(draws(5)) + 0.5),
        "right",
    ),
    "a static string": (
        with_rule(total, lambda kind, saved, g: (jnp.full(5, g),), static=(0,)),
        total,
        ("sum", draws(5)),
        "right",
    ),
    "a static string, 1/n forgotten": (
        with_rule(total, lambda kind, saved, g: (jnp.full(5, g),), static=(0,)),
        total,
        ("mean", draws(5)),
        "wrong",
    ),
    "a key goes in and another comes out": (
        with_rule(with_noise, with_noise_back),
        with_noise,
        (draws(4), jax.random.key(1)),
        "right",
    ),
    "a loop over a rule": (
        three_times(scaled),
        three_times(product),
        (draws(3), np.float32(0.7)),
        "right",
    ),
    "a bias that is summed": (
        with_rule(biased, lambda saved, g: (g, g.sum(0))),
        biased,
        (draws(4, 3), draws(3)),
        "right",
    ),
    "a bias that is averaged": (
        with_rule(biased, lambda saved, g: (g, g.mean(0))),
        biased,
        (draws(4, 3), draws(3)),
        "wrong",
    ),
    "an integer beside": (with_rule(largest, largest_back), largest, (draws(6),), "right"),
    "kinks": (
        with_rule(huber, lambda saved, g: (g * jnp.clip(saved[0], -1, 1),)),
        huber,
        (np.array([1.0, -1.0, 0.0, 0.3, 2.0], np.float32),),
        "right",
    ),
    "a norm": (with_rule(norm, norm_back), norm, (draws(3),), "right"),
    "a norm of zeros": (
        with_rule(norm, norm_back),
        norm,
        (np.zeros(3, np.float32),),
        "right",  # it is judged at points near 0, where a norm has a derivative
    ),
    "straight through": (rounded, straight_through, (3 * draws(6),), "right"),
    "straight through, against rounding": (rounded, jnp.round, (3 * draws(6),), "wrong"),
    "turned": (turned, lambda x: 2 * jax.lax.stop_gradient(x) - x, (draws(6),), "right"),
    "turned, against itself": (turned, lambda x: x, (draws(6),), "wrong"),
    "clipped": (
        with_rule(lambda x: x * 1, lambda saved, g: (jnp.clip(g, -0.1, 0.1),)),
        lambda x: x * 1,
        (draws(6),),
        "wrong",
    ),
    "logits of 1000": (
        log_sum_exp,
        jax.nn.logsumexp,
        (draws(6) + 1000,),
        "right",
    ),
    "logits in bfloat16": (
        log_sum_exp,
        jax.nn.logsumexp,
        (draws(6).astype("bfloat16"),),
        "right",
    ),
}
QUICK = ("a static string, 1/n forgotten", "a key goes in and another comes out", "kinks")


def select(table):
    """The names of a table; those that are not quick only in the long run."""
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in table]


@pytest.mark.parametrize("name", select(RULES))
def test_rules(name):
    function, reference, args, verdict = RULES[name]
    report = fcnet.check_vjp(function, reference, *args)
    assert report.verdict == verdict, str(report)


SPD = draws(3, 3, dtype="float64") @ draws(3, 3, dtype="float64").T + 3 * np.eye(3)
ROWS = draws(4, 3, dtype="float64") * np.array([1, 0, 1, 1])[:, None]
P = np.array([0.999, 0.001, 0.5])


def rows_by_hand(X, factor=1.0):
    length = np.sqrt((X * X).sum(1))
    return factor * X / np.where(length > 0, length, 1)[:, None]


def binary(p):
    y = jnp.array([1.0, 0.0, 1.0])
    return -(y * jnp.log(p) + (1 - y) * jnp.log1p(-p)).sum()


def binary_by_hand(p, sign=1):
    return sign * (p - np.array([1.0, 0.0, 1.0])) / (p * (1 - p))


def newton(a):
    return jax.lax.fori_loop(0, 40, lambda i, s: (s + a / s) / 2, jnp.ones_like(a)).sum()


def log_determinant(A):
    return 2 * jnp.log(jnp.diag(jnp.linalg.cholesky(A))).sum()


GRADIENTS = {
    "rows, one of them 0": (
        rows_by_hand,
        lambda X: jnp.linalg.norm(X, axis=1).sum(),
        ROWS,
        "right",
    ),
    "rows, one of them 0, twice": (
        functools.partial(rows_by_hand, factor=2.0),
        lambda X: jnp.linalg.norm(X, axis=1).sum(),
        ROWS,
        "wrong",
    ),
    "a log determinant by Cholesky": (np.linalg.inv, log_determinant, SPD, "right"),
    "probabilities near 0 and 1": (binary_by_hand, binary, P, "right"),
    "the same, the sign turned": (functools.partial(binary_by_hand, sign=-1), binary, P, "wrong"),
    "an arc cosine near 1": (
        lambda x: -1 / np.sqrt(1 - x * x),
        lambda x: jnp.arccos(x).sum(),
        np.array([0.97, -0.99, 0.2]),
        "right",
    ),
    "a root by Newton's method": (
        lambda a: 0.5 / np.sqrt(a),
        newton,
        abs(draws(6, dtype="float64")) + 0.5,
        "right",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name):
    gradient, function, x, verdict = GRADIENTS[name]
    report = fcnet.check_gradient(gradient, function, x)
    assert report.verdict == verdict, str(report)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_rule_inside_a_function_that_is_not_its_derivative_is_told(factor):
    """Autodiff of the function follows the rule, and so agrees with it."""
    square = with_rule(lambda x: x * x, lambda saved, g: (2 * factor * saved[0] * g,))

    def function(x, b):
        return jnp.sum(square(x)) + jax.nn.relu(b)

    x, b = draws(3), np.float32(0)
    report = fcnet.check_gradient(jax.grad(function, (0, 1)), function, x, b)
    assert report.verdict == "right"
    told = [note for note in report.notes if note.startswith("for x JAX gives another derivative")]
    assert len(told) == (factor != 1), str(report)
    assert len(report.notes) == len(told)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_slope_in_the_rule_of_a_function_without_one_is_told(slope):
    """As that of rounding "straight through": differences of the values are 0."""
    rule = with_rule(lambda x: jnp.round(x), lambda saved, g: (slope * g,))

    def function(x):
        return jnp.sum(rule(x) ** 2)

    report = fcnet.check_gradient(jax.grad(function), function, np.array([1.3, -2.2, 0.9]))
    assert report.verdict == ("right" if slope else "cannot tell")
    told = [note for note in report.notes if note.startswith("for x JAX gives another derivative")]
    assert len(told) == slope, str(report)
