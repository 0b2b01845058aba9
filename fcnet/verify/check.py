"""`fcnet.check`: a backward pass of the network tried on varied inputs, judged and diagnosed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jax import Array

from fcnet.forks import check_process
from fcnet.losses import as_objective, link_notes
from fcnet.types import Activation, Loss
from fcnet.verify.binding import EXAMPLE_AXES, WEIGHT_LAYOUTS, bind
from fcnet.verify.candidate import Candidate
from fcnet.verify.diagnose.causes import Causes, any_unknown, first_of_each_kind
from fcnet.verify.diagnose.descriptions import (
    described,
    description_findings,
    fits,
    loss_notes,
)
from fcnet.verify.diagnose.own_loss import RETURN_THE_LOSS
from fcnet.verify.inputs import varied_inputs
from fcnet.verify.judge import judge
from fcnet.verify.objects import takes_objects
from fcnet.verify.report import Report
from fcnet.verify.saturation import add_saturation
from fcnet.verify.snapshot import restored
from fcnet.verify.step import check_learning_rate
from fcnet.verify.surroundings import keeps_global_state
from fcnet.verify.tried import Tried, try_on_inputs
from fcnet.verify.truth.terms import Penalty, check_l2, l2_term, without
from fcnet.verify.types import Answered, Cost, Finding, Term, errors

REDUCTIONS = ("mean", "sum")

PENALTY_OF_N = "if your penalty has a factor 1/n, pass penalty= as a function of (params, n)"
"""For a gradient that is right for as many examples as the user's own, and wrong for others."""

RANDOM = {"nondeterministic", "stateful"}
"""Kinds of findings about calls that differ, as those with dropout do."""


@keeps_global_state
@takes_objects
def check(
    backward: Callable[[Any, Any, Any], Any],
    params: Any,
    x: Any,
    y: Any,
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    loss: str | Loss = "squared_error",
    batched: bool = False,
    reduction: str = "mean",
    l2: float | Callable[[int], float] = 0.0,
    penalty: Callable[..., Any] | None = None,
    learning_rate: float | None = None,
    weight_layout: str | None = None,
    example_axis: str | None = None,
    sizes: Sequence[int] | None = None,
    key: Array | None = None,
) -> Report:
    """Check a hand-written backward pass of the network (2.12), and name the line that is wrong.

    The candidate is called a few dozen times: on the user's input, on about ten others derived from
    it, and on more that locate a fault. It is compared with reverse-mode autodiff in float64. Its
    tolerance follows from rounding in its own precision, so there is none to choose. If it is
    wrong, each line of Algorithm 5 is judged alone, with the candidate's own values upstream.

    Args:
        backward: `backward(params, x, y)`, in NumPy, JAX or PyTorch; returns the gradient in the
            layout of `params`, alone, with the loss, or among other results.
        params: any layout: pairs (W, b), a flat list, dicts of several kinds, matrices W alone if
            there are no biases, matrices with a bias column, one vector of all numbers; weights as
            in the notes, (out, in), or (in, out). Or an object that holds them, by attributes such
            as `weights` and `biases`, `W1` and `b1`, `params`, or in its layers: then the candidate
            is `backward(x, y)`, such as a method of it, and the object is left as it was.
        x, y: one example and its target; or, with `batched`, examples and targets, in rows or in
            columns; targets may be class labels. Tables of pandas are passed as such. What the
            candidate changes in its arguments is put back.
        activation, output_activation, loss: as in `fcnet.example_loss`.
        batched: whether the candidate takes several examples at once.
        reduction: of a batch's losses, "mean" or "sum".
        l2: adds l2 / 2 times the sum of the squared weights, without the biases, to that mean or
            sum; a number, or a function of the number n of examples, such as `lambda n: 0.1 / n`.
        penalty: adds any other term: a JAX function of the parameters, as the user has them, or of
            these and the number n of examples.
        learning_rate: of a candidate that takes a training step, and returns the new parameters, or
            None if it has changed those that it was given. Its gradient is their difference over
            the learning rate. Arrays of JAX cannot be changed, so they must be returned.
        weight_layout: "out_in" or "in_out", only needed where every layer is square.
        example_axis: "rows" or "columns", only needed where n = d.
        sizes: (d, m_1, ..., m_r), needed where `params` are one vector, or fit several networks.
        key: of the derived inputs; by default always the same.

    Returns:
        A `Report`: its verdict is "right", "wrong" or "cannot tell".

    Raises:
        ValueError, TypeError: for arguments that cannot be read, before the candidate is judged. A
            candidate that raises is a finding of the report.

    >>> import numpy as np
    >>> W, b, x, y = np.ones((1, 2)), np.zeros(1), np.array([3.0, 4.0]), np.array([5.0])
    >>> def backward(params, x, y):
    ...     (W, b), = params
    ...     delta = 2 * (W @ x + b - y)
    ...     return [(np.outer(delta, x), delta)]
    >>> report = check(backward, [(W, b)], x, y)
    >>> report.verdict, report.findings[0].line, report.findings[0].kind
    ('wrong', 2, 'factor_2')
    """
    if type(activation) in (list, tuple):
        raise TypeError(
            "activation is that of all hidden layers; for several, write the network in JAX and "
            "use fcnet.check_gradient"
        )
    cost = Cost(as_objective(activation, output_activation, loss), reduction)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    check_l2(l2)
    learning_rate = check_learning_rate(learning_rate)
    check_process()
    if not (penalty is None or callable(penalty)):
        raise TypeError(f"penalty must be a function of the parameters, got {penalty!r:.60}")
    terms = partial(_terms, l2=l2, penalty=penalty)
    read: Callable[..., Candidate] = partial(
        bind,
        backward,
        params,
        x,
        y,
        cost,
        terms,
        batched=batched,
        sizes=sizes,
        learning_rate=learning_rate,
    )
    given = {"weight_layout": weight_layout, "example_axis": example_axis}
    candidate = read(**given)
    cost = cost._replace(terms=terms(candidate))
    with restored(candidate.given):
        tried = try_on_inputs(candidate, cost, key)
    subject, trials = tried.subject, tried.trials
    causes = Causes(subject, trials, bool(errors(tried.losses)))
    otherwise = "" if tried.all_right else other_layout(read, cost, terms, given, key)
    report = judge(
        subject,
        tried.cases,
        trials,
        first_of_each_kind(form_findings(tried, causes, otherwise)),
        [*tried.notes, *tried.protocol.notes],
        lambda persistent: [] if otherwise else causes.findings(),
    )
    if tried.losses and tried.all_right:
        report = replace(report, numbers=subject.numbers(trials[0]))
    judged = tuple(leaf for leaf in report.leaves if leaf.path not in subject.unread_names)
    said = [*report.notes, *loss_notes(report.findings)]
    if trials and trials[0].answer.loss is None and any_unknown(report.findings):
        said.append(RETURN_THE_LOSS)
    wrong = {trial.case.n for trial in tried.trials if not trial.comparison.ok}
    if penalty is not None and wrong and candidate.own.n not in wrong:
        said.append(PENALTY_OF_N)
    twice = link_notes(cost.objective.output_activation, cost.objective.loss)
    if twice and not causes.has_other_output_activation:
        said += twice
    report = replace(report, leaves=judged, notes=tuple(said))
    return add_saturation(report, subject, tried.plain)


def form_findings(tried: Tried, causes: Causes, otherwise: str) -> list[Finding]:
    """What is wrong with the form of a candidate, and with the loss that it returns.

    Args:
        tried: the candidate.
        causes: what may explain its answers.
        otherwise: the keyword that mends a wrong layout, or "".
    """
    protocol, losses = tried.protocol, tried.losses
    if otherwise:
        # Calls on other numbers of examples may have failed for the layout alone.
        return [*protocol.findings, *description_findings(otherwise, [])]
    of_calls = (finding for call in tried.calls for finding in call.findings)
    form = [*protocol.findings, *tried.fixed, *of_calls]
    if not RANDOM.isdisjoint(finding.kind for finding in form) and causes.dropout:
        form = [finding for finding in form if finding.kind not in RANDOM]
    if losses and (tried.all_right or not (causes.dropout or causes.has_other_loss(protocol.own))):
        form += losses
    return form


def other_layout(
    read: Callable[..., Candidate],
    cost: Cost,
    terms: Callable[[Candidate], tuple[Term, ...]],
    given: Mapping[str, str | None],
    key: Array | None,
) -> str:
    """The keyword that mends a layout that was given and is another, or "".

    Args:
        read: the candidate for other keywords; it raises ValueError where the shapes do not fit.
        cost: what the candidate claims to differentiate.
        terms: of that cost, for a candidate in its layout.
        given: the user's keywords.
        key: of the derived inputs.
    """
    for keyword, table in (("weight_layout", WEIGHT_LAYOUTS), ("example_axis", EXAMPLE_AXES)):
        for value in table:
            if given[keyword] is None or given[keyword] == value:
                continue
            try:
                candidate = read(**{**given, keyword: value})
            except ValueError:
                continue
            if _is_right(candidate, cost._replace(terms=terms(candidate)), key):
                return f"{keyword}={value!r}"
    return ""


def _is_right(candidate: Candidate, cost: Cost, key: Array | None) -> bool:
    """Whether a candidate's gradient is that of the cost, on its own and on derived inputs."""
    for case in (candidate.own, *varied_inputs(candidate, cost, key)):
        answer = candidate.call(case).answer
        if answer is None:
            return False
        part = without(answer, cost.terms, case)
        if not fits(described(cost), Answered(case, part), candidate.format):
            return False
    return True


def _terms(
    candidate: Candidate, l2: float | Callable[[int], float], penalty: Callable[..., Any] | None
) -> tuple[Term, ...]:
    """What the cost has beside the data's part."""
    terms: list[Term] = []
    if callable(l2) or l2:
        terms.append(l2_term(l2, len(candidate.own.params)))
        terms[0](candidate.own)
    if penalty is not None:
        terms.append(Penalty(penalty, candidate.layout, candidate.like[0]))
    return tuple(terms)
