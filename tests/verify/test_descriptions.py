"""A right program that is described otherwise is told the keyword; a wrong one never is."""

import jax
import numpy as np
import pytest
from support.diagnosis_evidence import cost_of
from support.faults import FAULTS
from support.faults_batch import BATCH_FAULTS
from support.faults_rare import RARE_FAULTS
from support.faults_unlisted import UNLISTED_FAULTS
from support.faulty_backprop import ACTIVATIONS, MEANS, Setting, candidate
from support.scored_diagnoses import NETWORKS, evidence, is_wrong, layers

import fcnet
from fcnet.verify.diagnose.descriptions import (
    describe,
    described,
    other_description,
)
from fcnet.verify.types import Answered, format_of

pytestmark = pytest.mark.untyped

DRAW = np.random.default_rng(0)
PARAMS = [
    (DRAW.normal(size=(m, below)) / 2, DRAW.normal(size=m)) for below, m in ((4, 5), (5, 6), (6, 3))
]
X, Y = DRAW.normal(size=(8, 4)), np.eye(3)[np.arange(8) % 3]
"""One-hot targets, which every loss takes."""

DESCRIBED = (
    Setting("relu"),
    Setting("tanh", loss="softmax_cross_entropy"),
    Setting("sigmoid", loss="logistic"),
    Setting("tanh", "sigmoid"),
    Setting("relu", loss="softmax_cross_entropy", reduction="sum"),
    Setting("sigmoid", "sigmoid", "logistic"),
    Setting("identity", "tanh"),
)
CHOICES = {
    "activation": ACTIVATIONS,
    "output_activation": ACTIVATIONS,
    "loss": MEANS,
    "reduction": ("mean", "sum"),
}
SAID_WITH_THE_MISTAKE = {"sum_for_mean", "mean_for_sum", "missing_derivative"}


def check(setting, backward, x=X, y=Y, params=PARAMS, **keywords):
    """The report on a program, described by a setting."""
    words = {field: getattr(setting, field) for field in CHOICES}
    return fcnet.check(backward, params, x, y, **words, batched=True, **keywords)


def neighbours(setting):
    """The settings that differ in one keyword, with that keyword."""
    return [
        (keyword, setting._replace(**{keyword: value}))
        for keyword, values in CHOICES.items()
        for value in values
        if value != getattr(setting, keyword)
    ]


def mends(report, keyword, value):
    """Whether there is one finding, and it says what to pass."""
    if len(report.findings) != 1:
        return False
    (finding,) = report.findings
    asked = f"{keyword}={value!r}"
    none = (
        "no output_activation" if (keyword, value) == ("output_activation", "identity") else asked
    )
    named = finding.kind == "other_description" and finding.line is None
    likely = finding.kind in SAID_WITH_THE_MISTAKE and finding.line == 2
    return report.verdict == "wrong" and (named or likely) and none in finding.message


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_sixty_right_programs_described_wrongly_nearly_all_are_told_the_keyword():
    pairs = [(said, *other) for said in DESCRIBED for other in neighbours(said)]
    told = [
        mends(check(said, candidate(real, (), batched=True)), keyword, getattr(real, keyword))
        for said, keyword, real in pairs
    ]
    assert len(pairs) >= 60
    missed = [pair for pair, ok in zip(pairs, told, strict=True) if not ok]
    assert len(missed) <= 2, missed


@pytest.mark.parametrize(
    ("said", "real", "words"),
    [
        (Setting("tanh", "sigmoid"), Setting("relu", "sigmoid"), "activation='relu'"),
        (Setting("tanh", "sigmoid"), Setting("relu", "identity", "softmax_cross_entropy"),
         "activation='relu', loss='softmax_cross_entropy' and no output_activation: that loss "
         "contains the softmax"),
        (Setting("tanh", "sigmoid", "logistic"), Setting("tanh", "identity", "logistic"),
         "loss='logistic' and no output_activation: that loss contains the sigmoid"),
    ],
)  # fmt: skip
def test_one_finding_says_what_to_pass_and_blames_no_line(said, real, words):
    (finding,) = check(said, candidate(real, (), batched=True)).findings
    assert finding[:4] == (None, "", None, "other_description")
    assert f"this is the exact gradient with {words};" in finding.message


def test_what_a_loss_contains_is_its_mean_and_not_read_off_its_formula():
    own = described(cost_of(Setting("tanh", "sigmoid", "logistic")))
    for name, formula in (("", "(sigmoid(o) - y)"), ("g", "anything")):
        loss = own.loss._replace(name="own", formula=formula, mean_name=name)
        other = own._replace(output_activation=fcnet.ACTIVATIONS["identity"], loss=loss)
        contains = f": that loss contains the {name}" if name else ""
        assert describe(own, other) == f"loss='own' and no output_activation{contains}"


def test_a_mistake_that_is_another_description_is_said_with_it():
    for said, real, kind, words in (
        (Setting("tanh", "sigmoid"), Setting("tanh", "sigmoid", reduction="sum"),
         "sum_for_mean", "reduction='sum'"),
        (Setting("tanh", "sigmoid"), Setting("tanh", "identity", "logistic"),
         "missing_derivative", "loss='logistic' and no output_activation"),
    ):  # fmt: skip
        (finding,) = check(said, candidate(real, (), batched=True)).findings
        assert finding[:4] == (2, "delta", 3, kind)
        assert words in finding.message


@pytest.mark.parametrize(
    "hidden",
    ["tanh", *(pytest.param(name, marks=pytest.mark.slow) for name in ("relu", "sigmoid"))],
)
def test_an_extra_derivative_of_the_prediction_is_said_with_the_loss_that_has_it(hidden):
    """(p - y) p (1 - p) is the gradient of the squared error after a sigmoid, too."""
    real = candidate(Setting(hidden, "sigmoid"), (), batched=True)
    params, y = [*PARAMS[:2], (PARAMS[2][0][:1], PARAMS[2][1][:1])], Y[:, :1]
    (finding,) = check(Setting(hidden, loss="logistic"), real, y=y, params=params).findings
    assert finding[:4] == (2, "delta", 3, "extra_derivative")
    assert "an extra factor p (1 - p) of the prediction p" in finding.message
    assert "output_activation='sigmoid', loss='squared_error'; pass that" in finding.message
    assert "softmax" not in finding.message  # of one output
    both = check(Setting(hidden, "sigmoid", "logistic"), real, y=y, params=params)
    assert "loss='squared_error'; pass that" in both.findings[0].message
    assert any("leave output_activation out" in note for note in both.notes)
    right = candidate(Setting(hidden, loss="logistic"), (), batched=True)
    said = check(Setting(hidden, "sigmoid", "logistic"), right, y=y, params=params)
    assert "no output_activation" in said.findings[0].message
    assert not any("leave output_activation out" in note for note in said.notes)  # said already
    assert check(Setting(hidden, loss="logistic"), right, y=y, params=params).ok


def test_an_extra_derivative_is_none_of_a_loss_that_contains_no_activation():
    """o (1 - o) for the squared error: no prediction p stands for o."""

    def backward(params, x, y):
        ((W, b),) = params
        o = W @ x + b
        delta = (o - y) * o * (1 - o)
        return [(np.outer(delta, x), delta)]

    (finding,) = fcnet.check(backward, [(np.ones((1, 4)), np.ones(1))], X[0], Y[0, :1]).findings
    assert finding[:3] == (2, "delta", 1)
    assert "already" not in finding.message


def test_a_loss_of_the_other_description_is_no_other_finding():
    real = Setting("tanh", "identity", "logistic")

    def backward(params, X, Y, factor=1):
        a = X
        for k, (W, b) in enumerate(params, start=1):
            z = a @ W.T + b
            a = np.tanh(z) if k < len(params) else z
        value = (np.logaddexp(0, a) - Y * a).sum() / len(X)
        return factor * value, candidate(real, (), batched=True)(params, X, Y)

    said = Setting("tanh", "sigmoid", "logistic")
    assert [f.kind for f in check(said, backward).findings] == ["other_description"]
    twice = check(said, lambda *arguments: backward(*arguments, factor=2))
    assert [f.kind for f in twice.findings] == ["forward_differs", "other_description"]


@pytest.mark.parametrize("setting", [DESCRIBED[2], DESCRIBED[3], DESCRIBED[5]], ids=str)
def test_a_function_applied_twice_is_noted(setting):
    """The program is right: it is what was described."""
    report = check(setting, candidate(setting, (), batched=True))
    twice = setting.output_activation != "identity" and setting.loss != "squared_error"
    assert report.ok
    assert any("leave output_activation out" in note for note in report.notes) == twice


@pytest.mark.parametrize(
    "keyword", ["weight_layout", pytest.param("example_axis", marks=pytest.mark.slow)]
)
def test_another_layout_is_told(keyword):
    setting, n = Setting("tanh"), 4
    params = [(DRAW.normal(size=(n, n)), DRAW.normal(size=n)) for _ in range(2)]
    x, y = DRAW.normal(size=(n, n)), DRAW.normal(size=(n, n))
    real = candidate(setting, (), batched=True)

    def columns(params, X, Y):
        return real(params, X.T, Y.T)

    for value, backward in (("rows", real), ("columns", columns)):
        layout = {"weight_layout": "out_in", "example_axis": value}
        assert check(setting, backward, x, y, params, **layout).ok
        other = {"weight_layout": "in_out", "example_axis": {"rows": "columns"}.get(value, "rows")}
        said = {**layout, keyword: other[keyword]}
        (finding,) = check(setting, backward, x, y, params, **said).findings
        assert finding.kind == "other_description"
        assert f"with {keyword}={layout[keyword]!r};" in finding.message


def test_another_layout_hides_no_fault_of_the_form():
    setting, n = Setting("tanh"), 4
    params = [(DRAW.normal(size=(n, n)), DRAW.normal(size=n)) for _ in range(2)]
    real = candidate(setting, (), batched=True)

    def mutating(params, X, Y):
        grads = real(params, X, Y)
        params[0][1][...] += 1
        return grads

    for backward, kinds in ((real, set()), (mutating, {"mutates_params"})):
        own = [(W.copy(), b.copy()) for W, b in params]
        report = check(setting, backward, X, X, own, weight_layout="in_out")
        assert {f.kind for f in report.findings} == {"other_description", *kinds}


SAME = {"sum_for_mean", "mean_for_sum", "link_missing", "hidden_derivative", "missing_derivative"}
SAME |= {"extra_derivative"}
"""Planted faults that can be another description.

The logistic loss's p - y times p (1 - p) is the squared error's delta after a sigmoid.
"""


def wrong_programs(every):
    """Networks with a planted fault: their settings, kinds and evidence."""
    alone = (*FAULTS, *RARE_FAULTS, *UNLISTED_FAULTS)
    places = [
        (i, (fault, k), rows)
        for i in range(len(NETWORKS))
        for faults, rows in ((alone, (1,) * 5), (BATCH_FAULTS, (5, 7, 1, 2)))
        for fault in faults
        for k in layers(i, fault)
    ]
    for i, site, rows in places[::every]:
        items = evidence(i, [site], rows)
        if is_wrong(items):
            yield NETWORKS[i][0], site[0].kind, [Answered(e.case, e.answer) for e in items]


def assert_none_is_described_otherwise(every, least):
    count = 0
    for setting, kind, examples in wrong_programs(every):
        count += 1
        other = other_description(cost_of(setting), examples, format_of("float64"))
        assert other is None or kind in SAME, (kind, describe(described(cost_of(setting)), other))
    assert count >= least


def test_no_wrong_program_is_taken_for_another_description():
    assert_none_is_described_otherwise(every=397, least=7)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_of_many_wrong_programs_none_is_taken_for_another_description():
    assert_none_is_described_otherwise(every=7, least=500)


@pytest.mark.parametrize("convention", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_relu_of_any_convention_is_recognised(convention, dtype):
    def backward(params, X, Y):
        (W1, b1), (W2, b2), (W3, b3) = params
        Z1 = X @ W1.T + b1
        Z2 = np.maximum(Z1, 0) @ W2.T + b2
        slopes = [(Z > 0) + convention * (Z == 0) for Z in (Z1, Z2)]
        A1, A2 = np.maximum(Z1, 0), np.maximum(Z2, 0)
        D3 = (A2 @ W3.T + b3 - Y) / len(X)
        D2 = D3 @ W3 * slopes[1]
        D1 = D2 @ W2 * slopes[0]
        pairs = ((D1, X), (D2, A1), (D3, A2))
        return [((D.T @ A).astype(dtype), D.sum(0).astype(dtype)) for D, A in pairs]

    arguments = jax.tree.map(lambda leaf: leaf.astype(dtype), (X, Y, PARAMS))
    (finding,) = check(Setting("tanh", "sigmoid"), backward, *arguments).findings
    assert finding.kind == "other_description"
    assert "activation='relu'" in finding.message
