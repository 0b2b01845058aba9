"""Costs with terms of the parameters: `l2=`, `penalty=`, a candidate's own loss, and decays unsaid.

The candidates are those of `support.faulty_backprop`, with terms added by hand.
"""

from functools import partial
from itertools import pairwise, product
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.faults import FAULTS
from support.faulty_backprop import Setting, candidate
from support.rounded_backprop import DTYPES

import fcnet
from fcnet.layouts import layouts_of
from fcnet.verify.truth import terms
from fcnet.verify.truth.terms import Penalty, without
from fcnet.verify.types import Answer, Case, format_of

pytestmark = pytest.mark.untyped

SETTING = Setting("tanh", loss="softmax_cross_entropy")
N = 8
DRAW = np.random.default_rng(0)
PARAMS = [(DRAW.normal(size=(m, below)), DRAW.normal(size=m)) for below, m in ((4, 5), (5, 3))]
X, LABELS = DRAW.normal(size=(N, 4)), np.arange(N) % 3
WORDS = {"activation": "tanh", "loss": "softmax_cross_entropy", "batched": True}


def check(backward, params=PARAMS, **keywords):
    return fcnet.check(backward, params, X, np.eye(3)[LABELS], **{**WORDS, **keywords})


def found(report):
    return [(f.line, f.layer, f.kind) for f in report.findings]


def planted(*sites, reduction="mean"):
    """A candidate with faults, each (kind, layer)."""
    by_kind = {fault.kind: fault for fault in reversed(FAULTS)}
    faults = [(by_kind[kind], layer) for kind, layer in sites]
    return candidate(SETTING._replace(reduction=reduction), faults, batched=True)


def regularised(backward, W, b=lambda n: 0.0, layers=(1, 2)):
    """The candidate with W(n) times its weights and b(n) times its biases added in some layers."""

    def with_decay(params, X, Y):
        n = len(X)
        return [
            (dW + W(n) * w * (k in layers), db + b(n) * c * (k in layers))
            for k, ((dW, db), (w, c)) in enumerate(
                zip(backward(params, X, Y), params, strict=True), start=1
            )
        ]

    return with_decay


def decaying(n):
    return 1 / n


def constant(n):
    return 0.3


def cross_entropy(params, X, Y):
    """The mean loss, by hand."""
    (W1, b1), (W2, b2) = params
    o = np.tanh(X @ W1.T + b1) @ W2.T + b2
    o = o - o.max(1, keepdims=True)
    return float((np.log(np.exp(o).sum(1)) - (o * Y).sum(1)).mean())


def with_loss(backward, term):
    """The candidate beside its loss, with a term of the parameters and n."""
    return lambda params, X, Y: (
        cross_entropy(params, X, Y) + term(params, len(X)),
        backward(params, X, Y),
    )


def half_squares(c, biases=False):
    return lambda params, n: sum(
        c(n) / 2 * ((W**2).sum() + biases * (b**2).sum()) for W, b in params
    )


@pytest.mark.parametrize(("l2", "reduction"), [(0.3, "mean"), (decaying, "mean"), (0.3, "sum")])
def test_a_gradient_of_the_loss_with_its_l2_term_is_right(l2, reduction):
    c = l2 if callable(l2) else constant
    backward = regularised(planted(reduction=reduction), c)
    assert check(backward, l2=l2, reduction=reduction).ok
    assert not check(backward, reduction=reduction).ok


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tolerance_is_still_that_of_rounding(dtype):
    """One entry of the decay is off by some thousand roundings."""

    def nudged(params, X, Y):
        grads = regularised(planted(), constant)(params, X, Y)
        grads[0][0][0, 0] += params[0][0][0, 0] * error
        return grads

    params = [(W.astype(dtype), b.astype(dtype)) for W, b in PARAMS]
    for error in (0.0, 3000 * np.finfo(dtype).eps):
        assert check(nudged, params, l2=0.3).ok == (error == 0.0)


@pytest.mark.parametrize(
    ("sites", "findings"),
    [
        ([("sign", 2)], [(2, 2, "sign")]),
        ([("missing_derivative", 1)], [(4, 1, "missing_derivative")]),
        ([("factor_2", 2), ("last_input_dropped", 1)],
         [(2, 2, "factor_2"), (5, 1, "last_input_dropped")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("said", [True, False])
def test_a_slip_beside_a_decay_is_named(sites, findings, said):
    report = check(regularised(planted(*sites), decaying), l2=decaying if said else 0.0)
    assert found(report) == findings + [(5, None, "weight_decay")] * (not said), str(report)


@pytest.mark.parametrize(
    ("c", "l2", "kind", "words"),
    [
        (constant, 0.0, "weight_decay", "0.3 times their weights added, a weight decay that"),
        (constant, 0.1, "weight_decay", "0.3 times their weights added, and l2 asks for 0.1"),
        (lambda n: 1.0, decaying, "weight_decay", "weights added, and l2 asks for 0.125 times"),
        (lambda n: 0.0, 0.3, "decay_missing", "lack the l2 term, 0.3 times their weights"),
        (lambda n: -0.3, 0.0, "weight_decay", "its sign is wrong"),
    ],
)  # fmt: skip
def test_another_decay_than_that_of_the_cost_is_one_finding(c, l2, kind, words):
    report = check(regularised(planted(), c), l2=l2)
    assert found(report) == [(5, None, kind)]
    assert words in report.findings[0].message


def test_the_hint_has_the_coefficient_at_the_users_own_n():
    (finding,) = check(regularised(planted(), decaying)).findings
    assert "pass l2=0.125 (at your n = 8; in general l2=lambda n: 1 / n)" in finding.message


def test_the_decay_of_biases_is_named_with_them():
    (finding,) = check(regularised(planted(), constant, constant)).findings
    assert finding.kind == "weight_decay"
    assert "your params[0].b, params[1].b have 0.3 times their biases added" in finding.message
    assert "l2= leaves biases out" in finding.message


def test_no_gradient_is_called_exact_that_has_a_decay_besides():
    messages = {}
    for name, c in (("plain", lambda n: 0.0), ("decay", constant)):
        findings = check(regularised(planted(reduction="sum"), c)).findings
        (messages[name],) = [f.message for f in findings if "the exact gradient" in f.message]
        assert "this is the exact gradient with reduction='sum'" in messages[name]
        assert ("weight_decay" in [f.kind for f in findings]) == (name == "decay")
    apart = "apart from its terms of the parameters, this is the exact gradient"
    assert [apart in messages[name] for name in ("plain", "decay")] == [False, True]


@pytest.mark.parametrize("layer", [1, 2])
def test_the_decay_of_one_layer_has_its_layer(layer):
    report = check(regularised(planted(), constant, layers=(layer,)))
    assert found(report) == [(5, layer, "weight_decay")]
    assert "pass penalty=" in report.findings[0].message


def test_a_decay_that_lacks_its_1_over_n_in_one_layer_has_that_layer():
    backward = regularised(
        regularised(planted(), lambda n: 1.0, layers=(1,)), decaying, layers=(2,)
    )
    report = check(backward, l2=decaying)
    assert found(report) == [(5, 1, "weight_decay")]
    assert "has 1 times its weights added, and l2 asks for 0.125" in report.findings[0].message


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("setting", "sizes"),
    [
        (SETTING, (4, 5, 3)),
        (Setting("relu"), (3, 6, 4, 2)),
        (Setting("sigmoid", "sigmoid", "logistic", "sum"), (5, 4, 1)),
    ],
)
def test_right_programs_with_terms_and_steps_raise_no_alarm(setting, sizes, dtype):
    """Regularised gradients, and steps along them, rounded as each precision rounds."""
    draw, kind = np.random.default_rng(1), DTYPES[dtype]
    params = [
        ((draw.normal(size=(m, d)) / np.sqrt(d)).astype(kind), draw.normal(size=m).astype(kind))
        for d, m in pairwise(sizes)
    ]
    examples = (draw.normal(size=(6, sizes[0])).astype(kind), *targets_of(setting, sizes, kind))
    words = {field: getattr(setting, field) for field in setting._fields if field != "scale"}
    plain = candidate(setting, (), batched=True)
    for l2, rate in product((0.0, 0.02, decaying), (None, 0.3, 0.01)):
        c = l2 if callable(l2) else lambda n, l2=l2: l2
        backward = regularised(plain, lambda n, c=c: kind(c(n)), layers=range(1, len(sizes)))

        def step(params, X, Y, backward=backward, rate=rate):
            grads = backward(params, X, Y)
            if rate is None:
                return grads
            return [
                (W - kind(rate) * dW, b - kind(rate) * db)
                for (W, b), (dW, db) in zip(params, grads, strict=True)
            ]

        report = fcnet.check(
            step, params, *examples, **words, batched=True, l2=l2, learning_rate=rate
        )
        assert report.ok, str(report)


def targets_of(setting, sizes, kind):
    draw = np.random.default_rng(2)
    if setting.loss == "squared_error":
        return (draw.normal(size=(6, sizes[-1])).astype(kind),)
    if setting.loss == "logistic":
        return (draw.integers(2, size=(6, sizes[-1])).astype(kind),)
    return (np.eye(sizes[-1])[draw.integers(sizes[-1], size=6)].astype(kind),)


@pytest.mark.parametrize("c", [constant, decaying])
def test_the_term_of_a_candidates_own_loss_is_recognised(c):
    backward = with_loss(regularised(planted(), c), half_squares(c))
    report = check(backward)
    assert report.ok, str(report)
    note = (
        f"for the loss plus {c(N) / 2:g} times the sum of squared weights, which your own loss has"
    )
    assert note in report.notes


def test_the_biases_in_the_term_of_its_own_loss_are_recognised():
    backward = with_loss(
        regularised(planted(), constant, constant), half_squares(constant, biases=True)
    )
    report = check(backward)
    assert report.ok
    assert "sum of squared weights and biases" in report.notes[0]


def test_a_slip_beside_the_term_of_its_own_loss_is_named_alone():
    slipped = regularised(planted(("missing_derivative", 1)), constant)
    report = check(with_loss(slipped, half_squares(constant)))
    assert found(report) == [(4, 1, "missing_derivative")]


def test_what_a_candidate_adds_where_the_data_are_silent_is_asked_for_once():
    """Its own loss and the diagnosis both need it."""
    slipped = regularised(planted(("missing_derivative", 1)), constant)
    backward, silent = with_loss(slipped, half_squares(constant)), []

    def watched(params, X, Y):
        if not X.any() and not all(W.any() for W, _ in params):
            silent.append((len(X), *(W.tobytes() for W, _ in params)))
        return backward(params, X, Y)

    assert found(check(watched)) == [(4, 1, "missing_derivative")]
    assert len(silent) == len(set(silent)) > 0


def test_a_term_of_the_loss_alone_or_of_another_size_is_wrong():
    alone = with_loss(planted(), half_squares(constant))
    assert found(check(alone)) == [(1, None, "forward_differs")]
    doubled = with_loss(regularised(planted(), constant), half_squares(lambda n: 0.6))
    assert found(check(doubled)) == [(1, None, "forward_differs"), (5, None, "weight_decay")]


@pytest.mark.parametrize("sites", [[], [("missing_derivative", 1)]])
def test_a_loss_that_lacks_the_term_is_no_wrong_gradient(sites):
    """People print the data's part of the loss, and add the decay to the gradient."""
    slipped = regularised(planted(*sites), constant)
    report = check(with_loss(slipped, half_squares(lambda n: 0.0)), l2=0.3)
    assert [(f.severity, f.kind) for f in report.findings] == [
        ("warning", "forward_differs"),
        *[("error", kind) for kind, _ in sites],
    ]
    assert "lacks your l2" in report.findings[0].message
    wrong = check(with_loss(slipped, half_squares(lambda n: 0.2)), l2=0.3)
    assert "error" in [f.severity for f in wrong.findings if f.kind == "forward_differs"]


def absolute(params):
    return 0.1 * sum(jnp.abs(layer["w"]).sum() for layer in params)


def l1_penalised(backward, factor=1.0):
    """On the layout of `absolute`."""

    def function(params, X, Y):
        grads = backward([(q["w"], q["b"]) for q in params], X, Y)
        return [
            {"w": dW + 0.1 * factor * np.sign(q["w"]), "b": db}
            for (dW, db), q in zip(grads, params, strict=True)
        ]

    return function


def test_a_penalty_is_a_function_of_the_users_own_layout():
    params = [{"w": W, "b": b} for W, b in PARAMS]
    for sites, factor, findings in (
        ([], 1.0, []),
        ([("sign", 2)], 1.0, [(2, 2, "sign")]),
        ([], 0.0, [(5, None, "penalty_missing")]),
        ([], 2.0, [(5, None, "penalty_scaled")]),
    ):
        backward = l1_penalised(planted(*sites), factor)
        report = check(backward, params, penalty=absolute, weight_layout="out_in")
        assert found(report) == findings
        assert report.ok == (not findings)


def penalty_at_a_kink():
    """|w| summed over a network in which one weight is 0 and the others are not, with that case."""
    params = [(W.copy(), b.copy()) for W, b in PARAMS]
    params[0][0][0, 0] = 0.0
    layout = layouts_of(params)[0]
    term = Penalty(lambda params: sum(jnp.abs(W).sum() for W, _ in params), layout, params)
    return term, Case("your input", layout.read(params), X, np.eye(3)[LABELS])


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_kink_of_a_penalty_counts_the_same_in_every_format(dtype):
    term, case = penalty_at_a_kink()
    u = format_of(dtype).u
    first, *others = jax.tree.leaves(term.tolerance(case, u).gradient)
    assert 1 <= first[0, 0] <= 2.1  # |w| has any slope from -1 to 1 there
    first[0, 0] = 0
    assert max(abs(leaf).max() for leaf in (first, *others)) < 30 * u


def test_the_data_s_part_of_an_answer_needs_no_rounding_of_the_terms(monkeypatch):
    term, case = penalty_at_a_kink()

    def never(*args, **options):
        raise AssertionError("the rounding of a term was measured")

    monkeypatch.setattr(terms, "spread", never)
    monkeypatch.setattr(terms, "jumps", never)
    zero = Answer(jax.tree.map(np.zeros_like, case.params), None, np.dtype(float))
    part = without(zero, (term,), case).gradient
    np.testing.assert_array_equal(part[1].W, -np.sign(PARAMS[1][0]))
    with pytest.raises(AssertionError, match="was measured"):
        term.tolerance(case, 2.0**-53)


@pytest.mark.parametrize("absent", [(1, 2), (1,)])
def test_a_penalty_of_a_network_without_biases_or_without_one(absent):
    params = [W if absent == (1, 2) else (W, None) for W, _ in PARAMS]
    if absent == (1,):
        params[1] = PARAMS[1]

    def layers(params):
        pairs = [(p, None) if absent == (1, 2) else p for p in params]
        return [(W, np.zeros(len(W)) if b is None else b) for W, b in pairs]

    def penalty(params):
        return 0.15 * sum(jnp.sum(p[0] ** 2 if isinstance(p, tuple) else p**2) for p in params)

    def backward(params, X, Y, given):
        grads = given(layers(params), X, Y)
        pairs = [(dW, None if k in absent else db) for k, (dW, db) in enumerate(grads, start=1)]
        return [dW for dW, _ in pairs] if absent == (1, 2) else pairs

    for given, findings in (
        (regularised(planted(), constant), []),
        (regularised(planted(("sign", 2)), constant), [(2, 2, "sign")]),
        (planted(), [(5, None, "penalty_missing")]),
    ):
        report = check(partial(backward, given=given), params, penalty=penalty)
        assert found(report) == findings
        assert report.ok == (not findings)


@pytest.mark.slow
def test_a_penalty_of_one_row_in_the_other_layout():
    params = [(DRAW.normal(size=(4, 4)), DRAW.normal(size=4)) for _ in range(2)]
    y = np.eye(4)[np.arange(N) % 4]

    def penalty(params):
        return jnp.sum(params[0][0][0] ** 2)

    def backward(params, X, Y, factor=2):
        (dW, db), second = planted()(params, X, Y)
        dW[0] += factor * params[0][0][0]
        return [(dW, db), second]

    def findings(backward, layout):
        report = fcnet.check(backward, params, X, y, **WORDS, penalty=penalty, weight_layout=layout)
        return [f.kind for f in report.findings]

    assert findings(backward, "out_in") == []
    assert findings(backward, "in_out") == ["other_description"]
    assert "other_description" not in findings(partial(backward, factor=1), "in_out")


def test_a_penalty_may_be_a_function_of_n():
    """As for logistic regression, whose first weight is the bias."""
    rng = np.random.default_rng(0)
    X, theta, y = np.c_[np.ones(8), rng.normal(size=(8, 3))], rng.normal(size=4), np.arange(8) % 2

    def backward(theta, X, y, c=1):
        m = len(y)
        dtheta = X.T @ (1 / (1 + np.exp(-X @ theta)) - y) / m
        dtheta[1:] += c / m * theta[1:]
        return dtheta

    def judged(function, penalty):
        return fcnet.check(function, theta, X, y, batched=True, loss="logistic", penalty=penalty)

    assert judged(backward, lambda theta, n: (theta[1:] ** 2).sum() / (2 * n)).ok
    assert not judged(partial(backward, c=2), lambda theta, n: (theta[1:] ** 2).sum() / (2 * n)).ok
    report = judged(backward, lambda theta: (theta[1:] ** 2).sum() / 16)
    assert not report.ok
    assert "pass penalty= as a function of (params, n)" in report.notes[-1]


def test_a_penalty_of_an_object_gets_the_object():
    net = SimpleNamespace(W1=PARAMS[0][0], b1=PARAMS[0][1], W2=PARAMS[1][0], b2=PARAMS[1][1])
    kept = dict(vars(net))

    def backward(X, Y):
        params = [(net.W1, net.b1), (net.W2, net.b2)]
        (dW1, db1), (dW2, db2) = regularised(planted(), constant)(params, X, Y)
        return {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}

    def penalty(net):
        return 0.15 * (jnp.sum(net.W1**2) + jnp.sum(net.W2**2))

    assert check(backward, net, penalty=penalty).ok
    assert check(backward, net, penalty=lambda net, n: penalty(net) * n / n).ok
    assert not check(backward, net).ok
    assert all(vars(net)[name] is array for name, array in kept.items())


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"l2": -1}, ValueError, "l2 must be finite and 0 or more, got -1"),
        ({"l2": np.nan}, ValueError, "l2 must be finite"),
        ({"l2": True}, TypeError, "l2 must be a number, or a function"),
        ({"l2": "0.1"}, TypeError, "l2 must be a number, or a function"),
        ({"l2": lambda n: "a"}, TypeError, "got 'a'"),
        ({"l2": lambda n: -n}, ValueError, "l2 must be finite and 0 or more, got -8"),
        ({"penalty": 3}, TypeError, "penalty must be a function of the parameters, got 3"),
        ({"penalty": lambda params: params[0][0]}, TypeError, "penalty must return a real scalar"),
        (
            {"penalty": lambda params: np.square(params[0][0]).sum()},
            TypeError,
            r"not np\) of params",
        ),
    ],
)
def test_terms_that_cannot_be_read_are_refused_before_any_call(keywords, error, words):
    def never(params, X, Y):
        raise AssertionError("it was called")

    with pytest.raises(error, match=words):
        check(never, **keywords)


@pytest.mark.parametrize("share", [lambda n: 0.2, lambda n: 0.2 / n])
def test_a_decay_in_the_loss_alone_is_told(share):
    """The gradient is right as described; the loss is not, and the message says by what."""

    def backward(params, X, Y):
        o = np.tanh(X @ params[0][0].T + params[0][1]) @ params[1][0].T + params[1][1]
        logits = o - o.max(1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        decay = share(len(X)) / 2 * sum((W * W).sum() for W, _ in params)
        return decay - (Y * logs).sum(1).mean(), planted()(params, X, Y)

    (finding,) = check(backward, PARAMS).findings
    assert (finding.line, finding.kind) == (1, "forward_differs")
    assert f"pass l2={share(len(X)):.6g}, or leave it out" in finding.message


def test_biases_alone_with_a_decay_are_not_told_to_pass_l2():
    def backward(params, X, Y):
        return [
            (dW, db + 0.1 * b)
            for (dW, db), (_, b) in zip(planted()(params, X, Y), params, strict=True)
        ]

    (finding,) = check(backward, PARAMS).findings
    assert finding.kind == "weight_decay"
    assert "pass l2=" not in finding.message
    assert "pass penalty= instead" in finding.message
