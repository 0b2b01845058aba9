"""Monte-Carlo arithmetic: how far rounding moves a result, and what a hair decides."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax import lax

from fcnet.arrays import unit_roundoff
from fcnet.verify.truth import arithmetic, rounding
from fcnet.verify.truth.arithmetic import MonteCarlo, decides
from fcnet.verify.truth.double import trace
from fcnet.verify.truth.evaluate import evaluate
from fcnet.verify.truth.rounding import jumps, jumps_on, sample_count, spread, spreads
from fcnet.verify.types import FORMATS, format_of

pytestmark = pytest.mark.usefixtures("x64")


def sigma(function: Any, *args: Any, samples: int = 64, floor: float = 0.0) -> np.ndarray:
    return spread(trace(function, *args), *args, samples=samples, floor=floor).sigma


def test_the_table_of_precisions_is_that_of_the_dtypes() -> None:
    for name in ("float64", "float32", "float16", "bfloat16"):
        row = format_of(name)
        assert (row.name, row.u) == (name, unit_roundoff(name))
        assert row.largest == pytest.approx(float(jnp.finfo(name).max), rel=1e-2)
    assert [row.u for row in FORMATS.values()] == sorted(row.u for row in FORMATS.values())


def test_one_rounding_moves_a_result_by_one_unit() -> None:
    x = jnp.array([0.3, -4.0, 1e-200, 1e200])
    np.testing.assert_allclose(sigma(jnp.exp2, x / x), 2.0, rtol=1e-6)
    np.testing.assert_allclose(sigma(lambda x: x * 3, x), abs(3 * x), rtol=1e-6)


def test_independent_roundings_add_up_in_squares() -> None:
    x = jnp.linspace(1, 2, 500)  # five products: sqrt(5) units, on the average of 500 entries
    measured = sigma(lambda x: x * 3 * 5 * 7 * 9 * 11, x) / (3 * 5 * 7 * 9 * 11 * x)
    assert np.mean(measured**2) == pytest.approx(5, rel=0.1)


def test_cancellation_keeps_the_error_and_loses_the_value() -> None:
    measured = sigma(lambda x: (x + 1) - 1, jnp.array(1e-6))
    assert measured == pytest.approx(1.0, rel=1e-3)


def test_what_is_not_rounded_does_not_move() -> None:
    x = jnp.array([3.0, -1.0, 2.0])

    def exact(x: Any) -> Any:
        y = jnp.concatenate([x[::-1], jnp.abs(x), jnp.maximum(x, 0)])
        return jnp.sort(jnp.where(y > 1, -y, y)).reshape(3, 3).T

    moved = sigma(exact, x)  # at least one rounding at the end is allowed
    np.testing.assert_array_equal(moved, abs(exact(x)))


def test_a_move_out_of_the_domain_is_none() -> None:
    """A square root of what cancels, and a function of whole numbers alone."""
    assert np.isfinite(sigma(lambda x: jnp.sqrt(x / 3 * 3 - x), jnp.array(0.7)))
    x = jnp.array([0.3, 2.0])
    moved = sigma(lambda x: jax.scipy.special.polygamma(1, x), x)
    np.testing.assert_array_less(moved, 100 * jax.scipy.special.polygamma(1, x))


@pytest.mark.parametrize("name", ["gammaln", "digamma", "gammainc", "betainc", "erfc"])
def test_special_functions_are_as_precise_as_those_of_libraries(name: str) -> None:
    """JAX's own in float32, beside SciPy's."""
    draw = np.random.default_rng(0)
    arguments = {"gammainc": 2, "betainc": 3}.get(name, 1)
    args = [draw.uniform(0.1, 6, 4000).astype("float32") for _ in range(arguments)]
    args[-1] /= 6.1 if name == "betainc" else 1
    function = getattr(jax.scipy.special, name)
    own = function(*map(jnp.asarray, args))
    exact = [x.astype(float) for x in args]
    twin = {"digamma": "psi"}.get(name, name)
    error = abs(np.asarray(own, float) - getattr(scipy.special, twin)(*exact))
    allowed = rounding.KAPPA * 2.0**-24 * sigma(function, *exact)
    assert np.mean(error <= allowed) > 0.995
    assert np.max(error / allowed) > 0.1  # and not much less precise


def test_a_sum_rounds_as_recursive_summation_in_random_order() -> None:
    K, generator = 100, np.random.default_rng(0)
    terms = generator.normal(size=(400, K))
    partial_sums = np.cumsum(terms, axis=1)[:, 1:]
    expected = np.mean(np.sum(partial_sums**2, axis=1))
    through_a_product = lambda x: x @ jnp.ones(K)  # noqa: E731
    for function in (lambda x: x.sum(1), through_a_product):
        measured = np.mean(sigma(function, jnp.asarray(terms)) ** 2)
        assert expected < measured < 2 * expected


def test_terms_that_are_zero_are_not_summed() -> None:
    padded = jnp.zeros((1, 1000)).at[:, :2].set(1.0)
    assert sigma(lambda x: x.sum(1), padded) == pytest.approx(
        sigma(lambda x: x.sum(1), padded[:, :2])
    )
    ones = jnp.ones((1000, 1))
    assert sigma(jnp.matmul, padded, ones) == pytest.approx(2, rel=0.5)


def test_decisions_are_those_of_the_unmoved_computation() -> None:
    W, x = jnp.array([[1.0, -1.0]]), jnp.array([0.1, 0.1])  # z is 0 exactly, by cancellation

    def gradient(W: Any) -> Any:
        return jax.grad(lambda W: jax.nn.relu(W @ x).sum() + jnp.sum(W))(W)

    assert (sigma(gradient, W) < 5).all()  # a switch would move it by 0.1 / step


COMMON = [
    lambda x: lax.scan(lambda c, v: (c * v + 1, c), x[0], x)[1],
    lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
    jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))),
    jax.jit(lambda x: jax.nn.gelu(x)),
    jax.nn.log_softmax,
]
OTHERS = [
    lambda x: lax.fori_loop(0, 3, lambda i, c: c * jnp.sin(c), x),
    lambda x: jnp.linalg.solve(jnp.outer(x, x) + jnp.eye(4), x),
    lambda x: jnp.cumsum(x) ** 2,
    lambda x: abs(jnp.fft.fft(x)) ** 2,
    lambda x: x[jnp.array([0, 0, 1])] * 2,
    jnp.var,
]


@pytest.mark.parametrize(
    "function", [*COMMON, *(pytest.param(f, marks=pytest.mark.slow) for f in OTHERS)]
)
def test_any_jax_function_and_its_derivative_can_be_measured(function: Any) -> None:
    x = jnp.array([0.9, -0.4, 0.3, 0.7])
    for f in (function, jax.grad(lambda x: jnp.sum(function(x) ** 2))):
        value, moved, _ = spread(trace(f, x), x, samples=16)
        np.testing.assert_allclose(value, f(x), rtol=1e-12, atol=1e-15)
        assert np.isfinite(moved).all()
        assert (moved >= abs(value)).all()
        assert (moved < 100 * np.max(abs(value))).all()


def test_each_turn_of_a_scan_rounds_on_its_own() -> None:
    ones = jnp.ones(400)
    product = lambda x: lax.scan(lambda c, v: (c * v, None), 1.0, x)[0]  # noqa: E731
    assert sigma(product, ones, samples=256) == pytest.approx(20, rel=0.2)  # not 400


def test_samples_are_computed_in_parts_where_arrays_are_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.linspace(1, 2, 500)
    together = sigma(lambda x: x * 3 * 5, x)
    monkeypatch.setattr(rounding, "TOGETHER", 3 * len(x))
    parts = sigma(lambda x: x * 3 * 5, x)
    assert np.mean(parts**2) == pytest.approx(np.mean(together**2), rel=0.1)
    assert not np.array_equal(parts, together)


def check_scale(power: int) -> None:
    """Sums of terms of another scale are moved by as much, or a bound of it, sqrt(2 K) as large."""
    x = np.random.default_rng(0).normal(size=(4, 50))
    scale = 2.0**power
    for function in (lambda x: x.sum(1), lambda x: x @ jnp.ones(50)):
        ratio = sigma(function, scale * x) / scale / sigma(function, x)
        assert ((ratio > 0.99) & (ratio < 10)).all()


@pytest.mark.parametrize("power", [-1000, -600, 300, 600, 1000])
def test_sums_round_alike_whatever_their_scale(power: int) -> None:
    """Also where the squares of the terms underflow or overflow, as beyond 2^512."""
    check_scale(power)


@pytest.mark.parametrize("power", [-600, 600])
def test_a_rounding_that_is_lost_with_the_squares_is_noticed(
    monkeypatch: pytest.MonkeyPatch, power: int
) -> None:
    monkeypatch.setattr(arithmetic, "NORMAL", (0.0, np.inf))
    with pytest.raises(AssertionError):
        check_scale(power)


def test_underflow_has_a_floor() -> None:
    x = jnp.array([1e-30, 1.0, 0.0])
    moved = sigma(lambda x: x * 0.5, x, floor=1e-10)
    np.testing.assert_allclose(moved, [1e-10, 0.5, 0], rtol=1e-6)


def test_a_function_that_insists_on_a_coarser_dtype_says_so() -> None:
    def narrow(x: Any) -> Any:
        return jnp.sin(x.astype(jnp.float32))

    x = np.float64(0.7)
    value, moved, roundoff = spread(trace(narrow, x), x, samples=16)
    assert roundoff == 2.0**-24
    assert abs(value) <= moved < 4 * abs(value)
    assert spread(trace(jnp.sin, x), x, samples=2).roundoff == 2.0**-53


def test_a_choice_among_equal_results_does_not_spread() -> None:
    x = np.float64(1)
    choice = trace(jax.grad(lambda x: largest_of_two(x * x, x)), x)
    assert spread(choice, x, samples=32).sigma < 4


def test_infinity_is_exact() -> None:
    def masked(z: Any) -> Any:
        return jax.nn.softmax(jnp.array([z, 2 * z, -jnp.inf]))[0]

    x = np.float64(0.7)
    value, moved, _ = spread(trace(jax.grad(masked), x), x, samples=16)
    assert abs(value) <= moved < 20 * abs(value)


def test_more_samples_where_they_are_cheap() -> None:
    counts = [sample_count(p) for p in (1, 10**4, 10**5, 10**6)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] >= 7


def largest_of_two(x: Any, y: Any) -> Any:
    """As a pool of the largest does it; its gradient chooses without a comparison."""
    pooled = lax.reduce_window(jnp.stack([x, y]), -jnp.inf, lax.max, (2,), (2,), "VALID")
    return pooled[0]


@pytest.mark.parametrize(
    ("function", "x", "low", "high"),
    [
        (jax.nn.relu, 0.0, 0, 1),
        (jax.nn.relu, 1.0, 0, 0),
        (lambda x: jnp.maximum(x, 0), 0.0, -0.5, 0.5),
        (jnp.abs, 0.0, -2, 0),
        (lambda x: jax.nn.relu((x + 1) - 1 - 1e-17), 0.0, 0, 1),
        (lambda x: largest_of_two(x, 0.0), 0.0, -1, 0),
        (jnp.sin, 0.0, 0, 0),
    ],
)
def test_jumps_are_what_a_hair_decides(function: Any, x: float, low: float, high: float) -> None:
    jump = jumps(trace(jax.grad(function), x), x, size=1e-15)
    least, most = jump.min(0), jump.max(0)
    assert (float(least), float(most)) == pytest.approx((low, high), abs=1e-12)


def test_the_place_after_a_floor_is_no_choice() -> None:
    """floor(u) + 1 is a whole number, and stays one: no hair makes another index of it."""
    table = jnp.arange(6.0) ** 2

    def between(u: Any) -> Any:
        place = jnp.floor(u)
        after = (place + 1).astype(int)
        return (u - place) * table[after] + (after - u) * table[after - 1]

    slope = trace(jax.grad(between), 0.0)
    assert abs(jumps(slope, 2.3, size=1e-15)).max() < 1e-13
    assert abs(jumps(slope, 2.0, size=1e-15)).max() == pytest.approx(2)  # from 3 to 5


def test_jumps_of_equal_entries() -> None:
    x = jnp.array([1.0, 3.0, 3.0])
    jump = jumps(trace(jax.grad(jnp.max), x), x, size=1e-15)
    least, most = jump.min(0), jump.max(0)
    np.testing.assert_allclose(least, [0, -0.5, -0.5])
    np.testing.assert_allclose(most, [0, 0.5, 0.5])


def test_only_real_numbers_turned_into_decisions_count() -> None:
    assert decides(jax.make_jaxpr(jax.grad(jax.nn.relu))(1.0))
    assert decides(jax.make_jaxpr(jax.jit(jnp.sign))(1.0))
    assert not decides(jax.make_jaxpr(lambda x: jnp.tanh(x) * jnp.arange(3))(1.0))
    assert not decides(jax.make_jaxpr(lambda x: lax.fori_loop(0, 3, lambda i, x: x * i, x))(1.0))


def test_moves_in_one_direction() -> None:
    both = MonteCarlo(2, 1e-9, directions=np.array([1, -1]), nudge=1e-30)
    for value, move in ((2.0, 2e-9), (0.0, 1e-39), (-2.0, 2e-9)):
        up, down = both.taken_apart(both.inputs([np.float64(value)], moved=True), ())[1][0]
        assert (up - value, down - value) == pytest.approx((move, -move), rel=1e-6)
    jaxpr = jax.make_jaxpr(jnp.sin)(1.0)
    (result,) = both.run(jaxpr.jaxpr, jaxpr.consts, [np.float64(0.5)])
    ((exact,), ((up, down),)) = both.taken_apart(result, ())
    assert up > exact > down


def branching(x: Any, ys: Any) -> Any:
    """A loop, a branch and a choice of entries, which differ from case to case."""

    def step(state: Any, y: Any) -> Any:
        state = lax.cond(state > 0, jnp.sin, lambda s: s * s - y, state)
        return jnp.where(y < x, state, jnp.maximum(state, y) / 3), lax.dynamic_index_in_dim(
            ys, jnp.argmax(ys * state), keepdims=False
        )

    last, picked = lax.scan(step, x, ys)
    return last + picked.sum()


def test_cases_that_are_computed_together_are_as_alone() -> None:
    cases = [(np.float64(x), np.array([0.3, y, -0.2])) for x, y in ((0.5, 1.0), (-2.0, 0.1))]
    both = trace(jax.value_and_grad(branching, (0, 1)), *cases[0])
    for case, found in zip(cases, spreads(both, cases, samples=31), strict=True):
        alone = spread(both, *case, samples=31)
        right = jax.tree.leaves(evaluate(both, *case))
        for value, one, sigma, other in zip(
            right, *map(jax.tree.leaves, (found.value, found.sigma, alone.sigma)), strict=True
        ):
            np.testing.assert_allclose(one, value, rtol=1e-12)
            assert np.all(np.maximum(sigma, other) <= 2 * np.minimum(sigma, other))


@pytest.mark.parametrize(
    "solve",
    [
        jnp.linalg.solve,
        lambda A, b: jnp.linalg.inv(A) @ b,
        lambda A, b: jax.scipy.linalg.lu_solve(jax.scipy.linalg.lu_factor(A), b),
    ],
)
def test_the_rounding_of_a_solution_does_not_depend_on_its_scale(solve: Any) -> None:
    """The factors of a matrix lie in one array: L, of numbers up to 1, must not move as U does."""
    draw = np.random.default_rng(0)
    A, b = draw.normal(size=(4, 4)) + 2 * np.eye(4), draw.normal(size=4)
    function = trace(jax.grad(lambda A, b: solve(A, b).sum()), A, b)
    one, other = (spread(function, s * A, s * b, samples=31).sigma * s for s in (1.0, 2.0**30))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_jumps_of_cases_together_are_those_of_each() -> None:
    slope = trace(jax.grad(jax.nn.relu), 0.0)
    jump = jumps_on(slope, [(x,) for x in (1.0, 0.0, -1.0)], size=1e-15)
    assert [float(np.ptp(one)) for one in jump] == [0, 1, 0]


def test_numpy_arrays_of_a_closure_are_read_in_double_precision() -> None:
    data = np.linspace(0, 1, 6) / 3  # not exact in float32

    @jax.jit
    def function(w: Any) -> Any:
        return jnp.sum(jnp.asarray(data) * w)

    with jax.enable_x64(False):
        assert function(1.0).dtype == np.float32  # JAX has the array in float32 now
        traced = trace(lambda w: function(w), np.float64(1))
        assert evaluate(traced, np.float64(1)) == pytest.approx(data.sum(), rel=1e-15)
        assert jnp.asarray(data).dtype == np.float32  # and again, not in float64
        assert function(1.0).dtype == np.float32
