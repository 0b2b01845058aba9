"""Training steps: `learning_rate=`, steps in place, and differences of parameters.

The candidates are those of `support.faulty_backprop`, made into steps.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.faults import STATELESS
from support.faulty_backprop import Setting, candidate, forward
from support.pairs import diagonal

import fcnet
from fcnet.verify.step import rate_of_differences
from fcnet.verify.types import Answer, Case, format_of

pytestmark = pytest.mark.untyped

SETTING = Setting("tanh", loss="softmax_cross_entropy")
N = 8
DRAW = np.random.default_rng(0)
PARAMS = [(DRAW.normal(size=(m, below)), DRAW.normal(size=m)) for below, m in ((4, 5), (5, 3))]
X, Y = DRAW.normal(size=(N, 4)), np.eye(3)[np.arange(N) % 3]
WORDS = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}
BY_KIND = {fault.kind: fault for fault in reversed(STATELESS)}


def check(backward, params=PARAMS, **keywords):
    return fcnet.check(backward, params, X, Y, **{**WORDS, **keywords})


def found(report):
    return [(f.line, f.layer, f.kind) for f in report.findings]


def planted(*sites):
    return candidate(SETTING, [(BY_KIND[kind], k) for kind, k in sites], batched=True)


def returned(backward, rate):
    """A step that returns the new parameters."""

    def step(params, X, Y):
        return [
            (W - rate * dW, b - rate * db)
            for (W, b), (dW, db) in zip(params, backward(params, X, Y), strict=True)
        ]

    return step


def in_place(backward, rate, value=None):
    """A step that changes the parameters it is given, and returns a value."""

    def step(params, X, Y):
        for (W, b), (dW, db) in zip(params, backward(params, X, Y), strict=True):
            W -= rate * dW
            b -= rate * db
        return value

    return step


def differences(backward, rate):
    """Parameters before a step less those after it, over the rate."""
    step = returned(backward, rate)

    def function(params, X, Y):
        return [
            ((W - V) / rate, (b - c) / rate)
            for (W, b), (V, c) in zip(params, step(params, X, Y), strict=True)
        ]

    return function


def in_dtype(dtype):
    return [(W.astype(dtype), b.astype(dtype)) for W, b in PARAMS]


@pytest.mark.parametrize("step", [returned, in_place])
@pytest.mark.parametrize(
    ("dtype", "rate"),
    [
        ("float64", 0.1),
        pytest.param("float64", 0.001, marks=pytest.mark.slow),
        pytest.param("float32", 0.05, marks=pytest.mark.slow),
    ],
)
def test_a_right_step_is_right_and_a_wrong_line_is_named(step, dtype, rate):
    params = in_dtype(dtype)
    before = [leaf.copy() for layer in params for leaf in layer]
    report = check(step(planted(), rate), params, learning_rate=rate)
    assert report.ok, str(report)
    assert not report.findings
    for sites, lines in (
        ([("sign", 2)], [(2, 2, "sign")]),
        ([("missing_derivative", 1)], [(4, 1, "missing_derivative")]),
    ):
        wrong = check(step(planted(*sites), rate), params, learning_rate=rate)
        assert found(wrong) == lines, str(wrong)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(before, [leaf for layer in params for leaf in layer], strict=True)
    )


@pytest.mark.parametrize(
    "result",
    [
        lambda grads: (0.5, grads),
        lambda grads: {"loss": 0.5, "grads": grads},
        lambda grads: (grads, {"A1": X}),
        lambda grads: (0.5, 0.75, grads, X),
    ],
)
def test_a_step_in_place_may_return_its_gradient(result):
    """These are no new parameters, though their containers are the same."""

    def step(backward):
        def taken(params, X, Y):
            grads = backward(params, X, Y)
            in_place(lambda *_: grads, 0.1)(params, X, Y)
            return result(grads)

        return taken

    assert check(step(planted()), learning_rate=0.1).ok
    assert found(check(step(planted(("sign", 2))), learning_rate=0.1)) == [(2, 2, "sign")]


@pytest.mark.parametrize("seed", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_what_a_small_step_has_lost_above_hides_no_missing_slope(seed):
    """W2^T delta2 has lost digits. In the right delta1 a small sigma' makes that smaller."""
    wrong = returned(planted(("missing_derivative", 1)), 0.001)
    report = check(wrong, in_dtype("float64"), learning_rate=0.001, key=jax.random.key(seed))
    assert found(report) == [(4, 1, "missing_derivative")], str(report)


def test_another_learning_rate_is_a_factor():
    assert found(check(returned(planted(), 0.2), learning_rate=0.1)) == [(2, 2, "factor_2")]
    assert found(check(returned(planted(), -0.1), learning_rate=0.1)) == [(2, 2, "sign")]


def test_the_decay_of_a_step_is_read():
    def decaying(params, X, Y):
        grads = planted()(params, X, Y)
        return [(dW + 0.3 * W, db) for (dW, db), (W, _) in zip(grads, params, strict=True)]

    assert found(check(returned(decaying, 0.1), learning_rate=0.1)) == [(5, None, "weight_decay")]
    assert check(returned(decaying, 0.1), learning_rate=0.1, l2=0.3).ok


@pytest.mark.parametrize(("l2", "fault"), [(0.0, True), (0.3, True), (0.3, False)])
def test_weights_that_a_step_has_changed_too_early_are_named(l2, fault):
    def step(params, X, Y):
        (W1, b1), (W2, b2) = params
        a1 = np.tanh(X @ W1.T + b1)
        o = a1 @ W2.T + b2
        o = np.exp(o - o.max(1, keepdims=True))
        delta2 = (o / o.sum(1, keepdims=True) - Y) / len(X)
        V2 = W2 - 0.1 * (delta2.T @ a1 + l2 * W2)
        delta1 = (delta2 @ (V2 if fault else W2)) * (1 - a1**2)
        W2[...] = V2
        b2 -= 0.1 * delta2.sum(0)
        W1 -= 0.1 * (delta1.T @ X + l2 * W1)
        b1 -= 0.1 * delta1.sum(0)

    report = check(step, learning_rate=0.1, l2=l2)
    assert found(report) == ([(4, 1, "updated_weights")] if fault else []), str(report)


def shrinking(backward, rate, l2):
    """A step that multiplies the weights by 1 - rate * l2 first."""

    def step(params, X, Y):
        return [
            ((1 - rate * l2) * W - rate * dW, b - rate * db)
            for (W, b), (dW, db) in zip(params, backward(params, X, Y), strict=True)
        ]

    return step


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("rate", "l2"), [(0.05, 0.6), (0.01, 7.0), (0.3, 1.1)])
def test_the_rounding_of_a_factor_of_the_weights_recurs(dtype, rate, l2):
    """1 - rate * l2 is rounded alike on all inputs, and so are its products with equal weights."""
    step = shrinking(planted(), rate, l2)
    report = check(step, in_dtype(dtype), learning_rate=rate, l2=l2)
    assert report.ok, str(report)
    assert not report.findings
    other = check(step, in_dtype(dtype), learning_rate=rate, l2=l2 * (1 - 1e-3))
    assert not other.ok, str(other)


@pytest.mark.parametrize("rate", [0.1, 0.001])
def test_a_bias_that_a_step_leaves_out_is_named(rate):
    """Though few digits of its weights are left, these show its delta."""

    def step(params, X, Y):
        grads = planted()(params, X, Y)
        return [(W - rate * dW, b) for (W, b), (dW, _) in zip(params, grads, strict=True)]

    assert found(check(step, learning_rate=rate)) == [(5, 2, "zero"), (5, 1, "zero")]


ARRAYS = {
    "b1": [(0, 1)],
    "b2": [(1, 1)],
    "b1 b2": [(0, 1), (1, 1)],
    "W1": [(0, 0)],
    "W1 W2": [(0, 0), (1, 0)],
    "all": [(0, 0), (0, 1), (1, 0), (1, 1)],
}
"""Layers, counted from 0, and 0 for W, 1 for b."""


@pytest.mark.parametrize("rate", [0.1, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "batched"), diagonal(ARRAYS, [True, False]))
def test_a_step_that_drops_the_old_values_is_named(name, rate, batched):
    """b = -lr db, and b -= lr db was meant; a decay of the same rows stays one."""
    right = candidate(SETTING, (), batched=batched)

    def step(params, X, Y, factor):
        new = [list(layer) for layer in returned(right, rate)(params, X, Y)]
        for k, i in ARRAYS[name]:
            new[k][i] = new[k][i] - factor * params[k][i]
        return new

    data = (X, Y) if batched else (X[0], Y[0])
    words = {**WORDS, "batched": batched, "learning_rate": rate}
    for factor, kind in ((1.0, "overwritten"), (0.5 * rate, "weight_decay")):
        report = fcnet.check(partial(step, factor=factor), PARAMS, *data, **words)
        layers = {k + 1 for k, _ in ARRAYS[name]}
        assert found(report) == [(5, layers.pop() if len(layers) == 1 else None, kind)], str(report)
        told = "drops the old values" in report.findings[0].message
        assert told == (kind == "overwritten")
        assert "pass l2" not in report.findings[0].message or kind == "weight_decay"


def test_a_step_in_place_may_return_its_loss():
    def step(params, X, Y, factor):
        (W1, b1), (W2, b2) = params
        o = np.tanh(X @ W1.T + b1) @ W2.T + b2
        value = float((np.log(np.exp(o).sum(1)) - (o * Y).sum(1)).mean())
        return in_place(planted(), 0.1, factor * value)(params, X, Y)

    for factor, kinds in ((1, []), (2, ["forward_differs"])):
        report = check(partial(step, factor=factor), learning_rate=0.1)
        assert [finding.kind for finding in report.findings] == kinds


def test_a_step_that_changes_nothing_is_told_how_to_return():
    def forgets(params, X, Y):
        returned(planted(), 0.1)(params, X, Y)

    report = check(forgets, learning_rate=0.1)
    assert [finding.kind for finding in report.findings] == ["no_step"]


def test_arrays_of_jax_must_be_returned_or_put_back_into_their_container():
    @jax.jit
    def gradient(params, X, Y):
        (W1, b1), (W2, b2) = params
        A = jnp.tanh(X @ W1.T + b1)
        D2 = (jax.nn.softmax(A @ W2.T + b2) - Y) / len(X)
        D1 = (D2 @ W2) * (1 - A**2)
        return [(D1.T @ X, D1.sum(0)), (D2.T @ A, D2.sum(0))]

    def put_back(params, X, Y):
        params[:] = returned(gradient, 0.1)(params, X, Y)

    params = jax.tree.map(jnp.asarray, in_dtype("float32"))
    for step, kinds in (
        (returned(gradient, 0.1), []),
        (put_back, []),
        (in_place(gradient, 0.1), ["no_step"]),
    ):
        report = check(step, list(params), learning_rate=0.1)
        assert [finding.kind for finding in report.findings] == kinds, str(report)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_new_parameters_for_a_gradient_are_told_the_keyword(dtype):
    (finding,) = check(returned(planted(), 0.1), in_dtype(dtype)).findings
    assert finding.kind == "returns_parameters"
    assert "pass learning_rate=0.1," in finding.message
    wrong = check(returned(planted(("sign", 2)), 0.1), in_dtype(dtype))
    assert all(finding.kind != "returns_parameters" for finding in wrong.findings)
    (nothing, *_) = check(in_place(planted(), 0.1), in_dtype(dtype)).findings
    assert "pass learning_rate= for a training step in place" in nothing.message


def test_numbers_of_a_coarser_format_are_no_differences():
    def narrow(params, X, Y):
        grads = planted()(params, X, Y)
        return [tuple(np.float64(np.float32(leaf)) for leaf in layer) for layer in grads]

    report = check(narrow)
    assert report.ok
    assert not any("differences" in note for note in report.notes)


@pytest.mark.parametrize("rate", [np.float32(0.5), jnp.float32(0.5), jnp.bfloat16(0.5)])
def test_a_rate_of_a_coarse_dtype_costs_no_digits(rate):
    report = check(returned(planted(), 0.5), learning_rate=rate)
    assert report.ok
    assert not report.findings
    assert report.precision == "float64"


@pytest.mark.parametrize(("dtype", "rate"), [("float64", 1.0), ("float64", 0.1), ("float32", 0.01)])
def test_a_difference_of_parameters_is_recognised_and_has_no_made_up_findings(dtype, rate):
    """Its small gradients have few digits: some entries are wrong by many units of their own."""
    params = in_dtype(dtype)
    report = check(differences(planted(), rate), params)
    assert report.ok
    assert not report.findings
    assert "pass learning_rate=" in report.notes[0]
    sites = [("factor_2", 2)]
    assert found(check(differences(planted(*sites), rate), params)) == [(2, 2, "factor_2")]


def test_a_difference_of_parameters_off_by_a_billionth_is_still_wrong():
    def off(params, X, Y):
        first, *others = planted()(params, X, Y)
        return [(first[0] * (1 + 1e-9), first[1]), *others]

    assert found(check(differences(off, 1.0))) == [(5, 1, "scaled")]


def evidence(differs, dtype="float64", seed=0):
    draw = np.random.default_rng(seed)
    theta, g = (draw.normal(size=40).astype(dtype) * scale for scale in (1, 1e-4))
    if differs:
        g = (theta - (theta - g * dtype_of(dtype, differs))) / dtype_of(dtype, differs)
    layer = fcnet.Layer(theta[:20].reshape(4, 5).astype(float), theta[20:].astype(float))
    gradient = fcnet.Layer(g[:20].reshape(4, 5).astype(float), g[20:].astype(float))
    case = Case("", (layer,), np.ones((1, 5)), np.ones((1, 4)))
    return [(case, Answer((gradient,), None, np.dtype(dtype)))]


def dtype_of(dtype, number):
    return np.dtype(dtype).type(number)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_only_differences_are_taken_for_differences(dtype):
    format = format_of(dtype)
    for rate in (0.001, 0.1, 1.0):
        assert rate_of_differences(evidence(rate, dtype), format) in (rate, rate / 2)
    assert all(
        rate_of_differences(evidence(None, dtype, seed), format) is None for seed in range(200)
    )


@pytest.mark.parametrize(
    ("rate", "error"),
    [(0, ValueError), (-0.1, ValueError), (np.inf, ValueError), (True, TypeError),
     ("0.1", TypeError), ([0.1], TypeError)],
)  # fmt: skip
def test_learning_rates_that_are_none_are_refused(rate, error):
    with pytest.raises(error, match="learning_rate must be"):
        check(planted(), learning_rate=rate)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 0.01])
def test_planted_faults_are_named_in_steps_as_in_gradients(rate):
    """What a step leaves of the digits is enough to name a fault in its line."""
    m = forward(SETTING, PARAMS, X, Y)
    sites = [(fault, k) for fault in STATELESS[::3] for k in (1, 2) if fault.applies(m, k)]
    same = total = 0
    for site in sites:
        backward = candidate(SETTING, [site], batched=True)
        plain = check(backward)
        if plain.ok:
            continue
        step = check(returned(backward, rate), learning_rate=rate)
        assert step.verdict == "wrong", site
        total += 1
        same += [f[:3] for f in plain.findings] == [f[:3] for f in step.findings]
    assert total > 40
    assert same >= 0.95 * total, (same, total)
