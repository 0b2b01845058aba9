"""`fcnet.check_vjp`: rules of `jax.custom_vjp`, right and wrong ones, against their plain twins."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet
from fcnet.verify import limits
from fcnet.verify.truth import known

pytestmark = pytest.mark.untyped


def layer(params, x):
    """The plain twin: a layer that returns its output and its largest pre-activation."""
    z = params["W"] @ x + params["b"]
    return {"out": jnp.tanh(z), "sum": jnp.sum(z)}


def pull(residuals, cotangent):
    """The rule as it should be."""
    W, x, out = residuals
    delta = cotangent["out"] * (1 - out * out) + cotangent["sum"]
    return {"W": jnp.outer(delta, x), "b": delta}, W.T @ delta


def with_rule(change=lambda result, residuals, cotangent: result, forward=layer):
    """A layer with the right rule after `change`."""

    @jax.custom_vjp
    def by_hand(params, x):
        return forward(params, x)

    def start(params, x):
        result = forward(params, x)
        return result, (params["W"], x, result["out"])

    def back(residuals, cotangent):
        return change(pull(residuals, cotangent), residuals, cotangent)

    by_hand.defvjp(start, back)
    return by_hand


def arguments(dtype="float32", scale=1.0):
    rng = np.random.default_rng(0)
    W, b, x = (jnp.asarray(scale * rng.normal(size=s), dtype) for s in ((3, 4), 3, 4))
    return {"W": W, "b": b}, x


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_right_rule_is_right_in_every_precision(dtype):
    with jax.enable_x64(dtype == "float64"):
        args = arguments(dtype)
    report = fcnet.check_vjp(with_rule(), layer, *args)
    assert report.verdict == "right", str(report)
    assert report.precision == dtype
    assert [leaf.path for leaf in report.leaves] == ["params['W']", "params['b']", "x"]
    assert report.findings == ()


def on_x(edit):
    return lambda result, *_: (result[0], edit(result[1]))


def on_weights(edit):
    return lambda result, *_: (result[0] | {"W": edit(result[0]["W"])}, result[1])


def ones(result, residuals, cotangent):
    return pull(residuals, jax.tree.map(jnp.ones_like, cotangent))


def squares(result, residuals, cotangent):
    return pull(residuals, jax.tree.map(jnp.square, cotangent))


def positive(result, residuals, cotangent):
    """Like a ReLU on the way back: positively homogeneous, but not linear."""
    return pull(residuals, jax.tree.map(jax.nn.relu, cotangent))


def never_zero(result, residuals, cotangent):
    return jax.tree.map(lambda leaf: leaf + 0.5, result)


def clipped(result, residuals, cotangent):
    return jax.tree.map(lambda leaf: jnp.clip(leaf, -2, 2), result)


def half_forgotten(result, residuals, cotangent):
    return pull(residuals, cotangent | {"sum": jnp.zeros_like(cotangent["sum"])})


WRONG = {
    "twice": (on_x(lambda x: 2 * x), "factor_2"),
    "the other sign": (on_x(lambda x: -x), "sign"),
    "in reverse order": (on_weights(lambda W: W[:, ::-1]), "flipped"),
    "zero": (on_x(jnp.zeros_like), "zero"),
    "the cotangent ignored": (ones, "ignores_cotangent"),
    "the cotangent squared": (squares, "not_linear"),
    "only positive cotangents": (positive, "not_linear"),
    "not zero for a zero cotangent": (never_zero, "not_linear"),
    "clipped": (clipped, "not_linear"),
    "one result's cotangent forgotten": (half_forgotten, "ignores_cotangent"),
    "wrong shape": (on_x(lambda x: x[None]), "raises"),
    "wrong structure": (lambda result, *_: (result[1], result[0]), "raises"),
}
"""Changes of the rule, and the kind of the finding."""


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_found_and_what_is_wrong_is_said(name):
    change, kind = WRONG[name]
    report = fcnet.check_vjp(with_rule(change), layer, *arguments())
    assert report.verdict == "wrong"
    assert [finding.kind for finding in report.findings] == [kind], str(report)


@pytest.mark.parametrize(
    ("change", "says"),
    [(never_zero, "for a cotangent of 0, the gradient of"), (clipped, "clipped")],
)
def test_what_is_not_linear_is_told(change, says):
    (finding,) = fcnet.check_vjp(with_rule(change), layer, *arguments()).findings
    assert says in finding.message


def test_the_result_whose_cotangent_is_not_used_is_named():
    report = fcnet.check_vjp(with_rule(half_forgotten), layer, *arguments())
    assert "does not use the cotangent of result['sum']" in report.findings[0].message


def test_a_result_whose_cotangent_is_not_used_hides_no_other_mistake():
    def two(x, s):
        return s * jnp.sin(x), s * jnp.sum(x)

    by_hand = jax.custom_vjp(two)
    by_hand.defvjp(
        lambda x, s: (two(x, s), (x, s)),
        lambda rest, g: (2 * rest[1] * jnp.cos(rest[0]) * g[0], jnp.sum(jnp.sin(rest[0]) * g[0])),
    )
    report = fcnet.check_vjp(by_hand, two, jnp.array([0.3, -1.2, 0.8]), jnp.array(1.5))
    assert [finding.kind for finding in report.findings] == ["ignores_cotangent", "factor_2"]
    assert "the gradient of x" in report.findings[1].message


def square(x):
    return x * x


def squaring(value=square, start=None, back=lambda x, g: (2 * x * g,)):
    """x^2 with a rule of its own: `start` is the rule's forward pass, `back` its backward pass."""
    by_hand = jax.custom_vjp(value)
    by_hand.defvjp(start or (lambda x: (value(x), x)), back)
    return by_hand


def changing():
    """A rule whose second call gives something else than its first."""
    calls = []

    def back(x, g):
        calls.append(g)
        return ((2 - (len(calls) > 1) / 4) * x * g,)

    return back


def stale():
    """A rule that keeps the cotangent of its first call."""
    kept = []

    def back(x, g):
        kept.append(g)
        return (2 * x * kept[0],)

    return back


def traced_otherwise(x, g):
    return ((3 if isinstance(x + g, jax.core.Tracer) else 2) * x * g,)


def traced_in_float32(x, g):
    dtype = jnp.float32 if isinstance(x + g, jax.core.Tracer) else x.dtype
    return ((2 * x.astype(dtype) * g.astype(dtype)).astype(x.dtype),)


@jax.custom_batching.custom_vmap
def product(x, g):
    return 2 * x * g


@product.def_vmap
def batched_otherwise(size, batched, x, g):
    return 3 * x * g, True


FAULTS = {
    "another value": ({"value": lambda x: x * x + 0.001}, "forward_differs"),
    "another shape by the rule": ({"start": lambda x: (jnp.sum(x * x), x)}, "forward_differs"),
    "another value by the rule": ({"start": lambda x: (1.001 * x * x, x)}, "forward_differs"),
    "another shape": ({"value": lambda x: jnp.sum(x * x)}, "wrong_shape"),
    "another structure": ({"value": lambda x: (x * x,)}, "wrong_structure"),
    "raises": ({"value": lambda x: x.no_such_attribute}, "raises"),
    "raises on the way back": ({"back": lambda x, g: x.no_such_attribute}, "raises"),
    "changes": ({"back": changing()}, "nondeterministic"),
    "keeps the first cotangent": ({"back": stale()}, "ignores_cotangent"),
    "jit": ({"back": traced_otherwise}, "jit_disagrees"),
    "vmap": ({"back": lambda x, g: (product(x, g),)}, "vmap_disagrees"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_form_and_state_are_findings(name):
    parts, kind = FAULTS[name]
    report = fcnet.check_vjp(squaring(**parts), square, jnp.array([1.0, -2.0, 0.5]))
    assert report.verdict == "wrong"
    assert kind in [finding.kind for finding in report.findings], str(report)


def test_fewer_digits_under_jit_are_no_other_result():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=9))
        report = fcnet.check_vjp(squaring(back=traced_in_float32), square, x)
    assert report.verdict == "right", str(report)


@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_arrays_of_numpy_that_a_function_closes_over_keep_their_precision(kind):
    """JAX makes int32 of an index once, and int64 again: both must not meet."""
    index = np.array([2, 0, 3, 1])
    scale = np.asarray(index, kind)

    def plain(x):
        return scale * x[index] ** 2

    def back(x, g):
        return (jnp.zeros_like(x).at[index].set(2 * scale * x[index] * g),)

    x = jnp.array([1.0, -2.0, 0.5, 3.0])
    report = fcnet.check_vjp(squaring(plain, back=back), plain, x)
    assert report.verdict == "right", str(report)
    wrong = squaring(plain, back=lambda x, g: (2 * scale * x * g,))
    assert fcnet.check_vjp(wrong, plain, x).verdict == "wrong"


def test_groups_that_a_function_closes_over_keep_their_precision():
    groups = np.array([0, 0, 1, 1, 2, 2])

    def total(x):
        return jax.ops.segment_sum(x, groups, 3)[groups]

    def softmax(x):
        weights = jnp.exp(x - jax.ops.segment_max(x, groups, 3)[groups])
        return weights / total(weights)

    rule = jax.custom_vjp(softmax)
    rule.defvjp(lambda x: 2 * (softmax(x),), lambda p, g: (p * (g - total(g * p)),))
    x = jnp.asarray(np.random.default_rng(0).normal(size=6), "float32")
    report = fcnet.check_vjp(rule, softmax, x)
    assert report.verdict == "right", str(report)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(lambda x: 2.0**-22 * jnp.sign(jnp.sin(1e7 * x)), "right"), (lambda x: 2.0**-18, "wrong")],
)
def test_what_all_cotangents_share_is_one_rounding_error(error, verdict):
    """The error is of the argument alone, and random in it: for all cotangents it is the same."""

    def back(x, g):
        return (g * jnp.exp(x) * (1 + error(x)),)

    rule = squaring(lambda x: jnp.exp(x).sum(), back=back)
    report = fcnet.check_vjp(rule, lambda x: jnp.exp(x).sum(), jnp.array([0.3, -1.1, 0.7]))
    assert report.verdict == verdict, str(report)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.02, "wrong"), (0.98, "wrong")])
def test_a_factor_that_one_rounding_hides_is_found_on_all_cases(factor, verdict):
    def back(x, g):
        return ((factor * g * jnp.exp(x).astype(g.dtype)).astype(x.dtype),)

    x = jnp.asarray(np.random.default_rng(0).normal(size=9), "bfloat16")
    report = fcnet.check_vjp(squaring(jnp.exp, back=back), jnp.exp, x)
    assert report.verdict == verdict, str(report)


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        ({"value": lambda x: 1.5 * x * x}, "the result is 1.5 times what it must be"),
        (
            {"start": lambda x: (1.5 * x * x, x)},
            "result under jax.vjp is 1.5 times what it must be",
        ),
    ],
)
def test_another_value_is_said_once(slip, message):
    x = jnp.array([1.0, 3.0, 0.5])
    report = fcnet.check_vjp(squaring(**slip), lambda x: x * x, x)
    assert [finding.message for finding in report.findings] == [message]


def test_of_values_that_differ_by_an_epsilon_it_is_said():
    def with_epsilon(x):
        return jnp.log(x + 1e-5)

    rule = squaring(with_epsilon, back=lambda x, g: (g / (x + 1e-5),))
    x = jnp.array([1.0, 3.0, 0.5])
    report = fcnet.check_vjp(rule, jnp.log, x)
    assert {finding.kind for finding in report.findings} == {"forward_differs"}
    assert "as by an epsilon" in report.findings[0].message
    assert "the rule was not checked" in report.notes[-1]
    assert fcnet.check_vjp(rule, with_epsilon, x).ok


@pytest.mark.parametrize("function", ["loop", "schur"])
def test_a_reference_without_a_derivative_is_refused(function):
    def until_small(x):
        return jax.lax.while_loop(lambda x: jnp.sum(x) > 1, lambda x: x / 2, x)

    reference = until_small if function == "loop" else lambda x: jax.scipy.linalg.schur(x)[0]
    rule = squaring(reference, back=lambda x, g: (g,))
    with pytest.raises(TypeError, match="reference must have a derivative that JAX finds"):
        fcnet.check_vjp(rule, reference, jnp.eye(2) + 1)


def test_the_right_values_of_a_case_are_found_once_and_together(monkeypatch):
    calls = []
    find = known.spreads
    monkeypatch.setattr(known, "spreads", lambda f, c, **k: calls.append(c) or find(f, c, **k))
    report = fcnet.check_vjp(squaring(), square, jnp.array([1.0, -2.0, 0.5]))
    # of the values; of the rule on your input, on all others, and away from their properties
    assert len(calls) <= 4
    assert sum(map(len, calls)) <= 3 + len(report.cases) + limits.TRIES


def test_random_numbers_that_are_others_in_float64_are_noted():
    def dropped(x, key, dtype=None):
        keep = jax.random.uniform(key, x.shape, dtype or jnp.result_type(float)) < 0.7
        return jnp.where(keep, x / 0.7, 0)

    x, key = jnp.asarray(np.random.default_rng(0).normal(size=9), "float32"), jax.random.key(0)
    report = fcnet.check_vjp(dropped, dropped, x, key)
    assert any("random numbers drawn inside are others" in note for note in report.notes)
    report = fcnet.check_vjp(*2 * [partial(dropped, dtype=jnp.float32)], x, key)
    assert report.verdict == "right"
    assert report.notes == ()


def test_what_jax_says_of_its_own_frames_is_left_out():
    report = fcnet.check_vjp(squaring(back=lambda x, g: (x @ jnp.ones(7),)), square, jnp.ones(3))
    assert report.findings[0].kind == "raises"
    assert "frames" not in report.findings[0].message


def test_the_same_rule_without_a_fault_is_right():
    report = fcnet.check_vjp(squaring(), square, jnp.array([1.0, -2.0, 0.5]))
    assert report.ok, str(report)
    assert "a zero cotangent" in report.cases


@pytest.mark.parametrize("power", [-20, 20])
def test_the_scale_of_the_function_changes_nothing(power):
    c, x = 2.0**power, jnp.array([1.0, -2.0, 0.5])

    def rule(factor):
        return squaring(lambda x: c * x * x, back=lambda x, g: (factor * c * x * g,))

    assert fcnet.check_vjp(rule(2), lambda x: c * x * x, x).ok
    assert fcnet.check_vjp(rule(2.001), lambda x: c * x * x, x).verdict == "wrong"


def test_integers_static_values_and_kinks():
    """A ReLU to a power, by hand, with ReLU'(0) = 1; the plain twin has 0 there."""

    @partial(jax.custom_vjp, nondiff_argnums=(1,))
    def by_hand(x, power, shift):
        return jnp.maximum(x, 0) ** power + shift

    def back(power, x, g):
        return (g * jnp.where(x >= 0, power * abs(x) ** (power - 1), 0), None)

    by_hand.defvjp(lambda x, power, shift: (by_hand(x, power, shift), x), back)

    def plain(x, power, shift):
        return jax.nn.relu(x) ** power + shift

    x = jnp.array([1.0, 0.0, -3.0, 2.0])
    for power in (1, 2):
        report = fcnet.check_vjp(by_hand, plain, x, power, jnp.arange(4))
        assert report.verdict == "right", str(report)


def test_a_rule_that_is_always_zero_cannot_be_told():
    flat = squaring(lambda x: 0 * x, back=lambda x, g: (0 * g,))
    report = fcnet.check_vjp(flat, lambda x: 0 * x, jnp.ones(3))
    assert report.verdict == "cannot tell"


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (TypeError, "nothing has a gradient", (square, square, 3)),
        (ValueError, "x must be finite", (square, square, jnp.array([np.inf]))),
        (TypeError, r"takes \(x\), so it cannot be called", (square, jnp.dot, *2 * [jnp.ones(2)])),
        (TypeError, r"takes \(x\), so it cannot be called", (jnp.dot, square, *2 * [jnp.ones(2)])),
        (TypeError, "must return floating-point", (square, lambda x: 3, jnp.ones(2))),
        (TypeError, "must return floating-point", (square, square, jnp.ones(0))),
        (TypeError, "must be a JAX function", (square, lambda x: np.square(x), jnp.ones(2))),
        (ValueError, "reference must accept", (square, lambda x: x.nothing, jnp.ones(2))),
    ],
)
def test_bad_arguments_are_refused(error, match, arguments):
    with pytest.raises(error, match=match):
        fcnet.check_vjp(*arguments)


def test_results_that_overflow_are_a_warning_and_the_rule_is_judged():
    def overflows(x):
        return jnp.log(1 + jnp.exp(x))

    x = jnp.array([100.0, 0.3, -0.8])
    for factor, verdict in ((1, "right"), (2, "wrong")):
        rule = squaring(overflows, back=lambda x, g, c=factor: (c * g * jax.nn.sigmoid(x),))
        report = fcnet.check_vjp(rule, jax.nn.softplus, x)
        assert report.verdict == verdict, str(report)
        assert report.findings[0].kind == "unstable"
        assert report.findings[0].message.startswith("the function itself: right in exact")


def test_shapes_may_depend_on_integers():
    rule = squaring()
    args = (jnp.array([0.3, -1.2, 2.4]), np.array([1, 2, 2]))
    for factor, verdict in ((1, "right"), (2, "wrong")):
        report = fcnet.check_vjp(
            lambda x, k: rule(x[: k.max()]), lambda x, k, c=factor: c * square(x[: k.max()]), *args
        )
        assert report.verdict == verdict, str(report)


def test_numpy_arrays_are_checked_as_jax_computes_with_them():
    """`W @ x` of NumPy arrays in bfloat16 is float32, which a rule would see outside jit only."""
    args = jax.tree.map(np.asarray, arguments("bfloat16"))
    report = fcnet.check_vjp(with_rule(), layer, *args)
    assert report.verdict == "right", str(report)
    assert report.precision == "bfloat16"


@pytest.mark.parametrize(("factor", "verdict"), [(2, "right"), (1, "wrong")])
def test_a_plain_number_is_an_argument_too(factor, verdict):
    rule = squaring(back=lambda x, g: (factor * x * g,))
    report = fcnet.check_vjp(rule, square, 0.3)
    assert report.verdict == verdict, str(report)
    assert [finding.kind for finding in report.findings] == ["factor_half"] * (factor == 1)


SURROGATES = {
    "a step": (lambda x: jnp.heaviside(x, 0.0), lambda x, g: g / jnp.cosh(x) ** 2, jnp.tanh),
    "straight through": (lambda x: jnp.clip(x, -0.3, 0.3), lambda x, g: g, lambda x: x),
    "reversed": (lambda x: x, lambda x, g: -0.7 * g, lambda x: -0.7 * x),
}


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_gradient_is_told_how_to_be_checked(name):
    plain, backward, meant = SURROGATES[name]
    rule = jax.custom_vjp(plain)
    rule.defvjp(lambda x: (plain(x), x), lambda x, g: (backward(x, g),))
    x = np.random.default_rng(0).normal(size=5)
    report = fcnet.check_vjp(rule, plain, x)
    assert report.verdict == "wrong"
    assert "s(x) + jax.lax.stop_gradient(f(x) - s(x))" in report.notes[-1]
    for s, ok in ((meant, True), (lambda x: jnp.sin(2 * x), False)):
        twin = lambda x, s=s: s(x) + jax.lax.stop_gradient(plain(x) - s(x))  # noqa: E731
        assert fcnet.check_vjp(rule, twin, x).ok == ok


def test_a_function_of_pytorch_is_told_how_to_be_checked():
    torch = pytest.importorskip("torch")

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.mul(x)

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    x = torch.linspace(0.5, 2, 4)
    for function in (Square.apply, Square):
        (finding,) = fcnet.check_vjp(function, lambda x: x * x, x).findings
        assert "by fcnet.check_gradient" in finding.message.split("\n")[0]
    with pytest.raises(ValueError, match=r"by fcnet.check_gradient"):
        fcnet.check_vjp(Square.apply, lambda x: x.mul(x), x)
