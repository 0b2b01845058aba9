"""The wrong lines of Algorithm 5, and what stands there instead: root causes only.

A batch is compared with its examples: the gradient that the candidate returns for each as a batch
of one shows its faults on one example. A batch that is not their mean has a fault of its own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from fcnet.types import Activation
from fcnet.verify.diagnose.batch import batch_of, row
from fcnet.verify.diagnose.explain import KNOWN, Explanation, Fault
from fcnet.verify.diagnose.line import PLACES, Mistake
from fcnet.verify.diagnose.mistakes import BATCH_MISTAKES, MISTAKES, ROW_MISTAKES
from fcnet.verify.diagnose.search import batch_faults, complexity, single_faults
from fcnet.verify.diagnose.single import single_of
from fcnet.verify.factors import FACTORS
from fcnet.verify.truth.functions import activated
from fcnet.verify.types import Answer, ArrayKey, Case, Cost, Finding, Reference

STRICTNESS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Divisors of the tolerance, tried in turn until a line is wrong: an error beyond what rounding
explains in the whole backward pass may be within the tolerances of its single lines."""

FEW_ROWS, MOST_ROWS = 8, 64
"""Batches of up to `FEW_ROWS` are enough; those of more than `MOST_ROWS` are not used."""

SHARELESS = {
    *("zero", "ones", "delta_missing", "activities", "activities_above", "derivative_alone"),
    *("weights_for_gradient", "bias_for_gradient", "parameter_returned", "sign_only", "normalised"),
    *("first_call", "not_finite"),
}
"""Kinds of mistakes on one example that leave delta out, and with it the share 1/n of a mean."""


TINY = 0.01
"""What is near 0, of a pre-activation."""


class Observation(NamedTuple):
    """What a candidate returned on one case, beside the reference.

    `alone` holds, for a batch, what it returned for each row as a batch of one; or nothing.
    """

    case: Case
    reference: Reference
    answer: Answer
    alone: tuple[Answer, ...] = ()


Names: TypeAlias = Mapping[ArrayKey, str]
"""The candidate's own names of dJ/dW and dJ/db; none for an absent bias."""

HARD_CODED = (
    "is divided by {n}, whatever the number of examples: {n} is that of your own input alone; "
    "divide by the number of examples of the call"
)


def diagnose(cost: Cost, items: Sequence[Observation], names: Names) -> list[Finding]:
    """The root causes of a gradient that is known to be wrong, from the output down.

    Args:
        cost: the function whose gradient it should be.
        items: in the order of the calls; cases of one row, at least one, and for a candidate of
            batches also cases of several rows. Mistakes that coincide on one input differ on
            others, and those of batches differ for batches of other sizes.
        names: the candidate's own names of the gradients.

    Returns:
        One finding for each wrong line. Its kind is that of a known mistake that gives the
        candidate's numbers on all inputs, or "not_finite", or "unknown": then the message says
        which entries are wrong, and by how much.
    """
    with np.errstate(all="ignore"):  # a wrong candidate may return any values
        faults = _first_faults(cost, items)
        if any(fault.why.kind == "unknown" for fault in faults):
            others = [item for item in items if not _is_tiny(item)]
            clear = _first_faults(cost, others) if others else []
            faults = clear if clear and complexity(clear) < complexity(faults) else faults
    n = items[0].case.n
    faults = _with_hard_coded_number(faults, n)
    return [_finding_of(cost, fault, names, _whole_factor(fault, faults, n)) for fault in faults]


def _first_faults(cost: Cost, items: Sequence[Observation]) -> list[Fault]:
    """The wrong lines by the widest tolerances by which a line is wrong."""
    tries = (faults_of(cost, items, strictness) for strictness in STRICTNESS)
    return next((faults for faults in tries if faults), [])


def _is_tiny(item: Observation) -> bool:
    """Whether all pre-activations of the hidden layers are near 0.

    There (e^z - e^-z) / (e^z + e^-z) has fewer digits than tanh, and that is no mistake in a line.
    """
    hidden = item.reference.trace.z[:-1]
    return bool(hidden) and all(abs(z).max() < TINY for z in hidden)


def _with_hard_coded_number(faults: Sequence[Fault], n: int) -> list[Fault]:
    """One fault for a factor 1/n, of the user's own n, and a sum for a mean, in one line."""
    sums = [fault for fault in faults if fault.why.kind == "sum_for_mean" and n > 1]
    hard_coded = {
        (fault.place, fault.k)
        for fault in sums
        if any(np.isclose(c * n, 1) for c in _factors_beside(fault, faults))
    }
    why = Explanation("hard_coded_n", HARD_CODED.format(n=n), KNOWN)
    others = [fault for fault in faults if (fault.place, fault.k) not in hard_coded]
    found = [fault._replace(why=why) for fault in sums if (fault.place, fault.k) in hard_coded]
    return _in_order([*others, *found])


def _whole_factor(fault: Fault, faults: Sequence[Fault], n: int) -> str:
    """What a factor and a sum in place of a mean, in one line, come to at the user's own n."""
    if fault.why.kind != "sum_for_mean" or n == 1:
        return ""
    factors = _factors_beside(fault, faults)
    return "".join(f": in all {c * n:g} = {c:g} n at your n = {n}" for c in factors)


def _factors_beside(fault: Fault, faults: Sequence[Fault]) -> list[float]:
    """The factors of the faults in the line of one."""
    here = {f.why.kind: f.why.constant for f in faults if (f.place, f.k) == (fault.place, fault.k)}
    factors = [c for c, kind, *_ in FACTORS if kind in here] + [here.get("scaled")]
    return [c for c in factors if c is not None]


def faults_of(cost: Cost, items: Sequence[Observation], strictness: float) -> list[Fault]:
    """The wrong lines from the output down, each once."""
    batches = _useful_batches(items)
    singles = [item for item in items if item.case.n == 1]
    singles += [end for item in batches for end in _ends(cost, item)]
    examples = [single_of(cost, *item[:3], strictness) for item in singles]
    alone = single_faults(examples, MISTAKES)
    usable = [item for item in batches if item.alone or not alone]
    together = _faults_of_batches(cost, usable, BATCH_MISTAKES, strictness)
    if together:
        same_places = _places_of(together) <= _places_of(alone)
        whole = _batch_explanation(cost, items, batches, same_places, strictness)
        if whole and complexity(whole) < complexity([*alone, *together]):
            alone, together = [], whole
    others = [fault for fault in together if not _is_the_same(fault, alone)]
    faults = [*alone, *(fault._replace(batched=True) for fault in others)]
    return _in_order(faults)


def _in_order(faults: Sequence[Fault]) -> list[Fault]:
    """From the output down."""
    return sorted(faults, key=lambda fault: (-fault.k, PLACES[fault.place].line))


def _is_the_same(fault: Fault, alone: Sequence[Fault]) -> bool:
    """Whether a fault in a line of batches is that of the same line on one example.

    It is another one if it is a known mistake, which the rows of the batch do not make by
    themselves. Where delta is missing in a row, so is its share 1/n. What is a warning on one
    example, such as an epsilon, is in the rows already, and makes no error of a batch.
    """
    wrong = [one for one in alone if one.why.severity == "error"]
    here = [one.why.kind for one in wrong if (one.place, one.k) == (fault.place, fault.k)]
    return bool(here) and (fault.why.kind == "unknown" or not SHARELESS.isdisjoint(here))


def _useful_batches(items: Sequence[Observation]) -> list[Observation]:
    """The batches of few rows, which take little time and show as much; others if there is none."""
    batches = [item for item in items if 1 < item.case.n <= MOST_ROWS]
    return [item for item in batches if item.case.n <= FEW_ROWS] or batches


def _ends(cost: Cost, item: Observation) -> list[Observation]:
    """The first and the last row of a batch as examples alone."""
    return [
        Observation(*row(cost, item.case, item.reference, i), item.alone[i])
        for i in (0, item.case.n - 1)
        if item.alone
    ]


def _batch_explanation(
    cost: Cost,
    items: Sequence[Observation],
    batches: Sequence[Observation],
    same_places: bool,
    strictness: float,
) -> list[Fault]:
    """Faults of batches that explain those on one example as well; none if any stays unknown.

    A mistake in combining rows may spoil a batch of one too. So the rows are the true ones here.
    At a kink these have a choice, which the candidate may make in another way.
    """
    single = [item for item in items if item.case.n == 1]
    plain = [
        item._replace(alone=())
        for item in (*single, *batches)
        if item.answer.is_finite and not any(kink.any() for kink in item.reference.kinks)
    ]
    tables = BATCH_MISTAKES if same_places else (*BATCH_MISTAKES, *ROW_MISTAKES)
    return _faults_of_batches(cost, plain, tables, strictness, known_only=True)


def _faults_of_batches(
    cost: Cost,
    items: Sequence[Observation],
    mistakes: Sequence[Mistake],
    strictness: float,
    known_only: bool = False,
) -> list[Fault]:
    batches = [batch_of(cost, *item, strictness) for item in items]
    return batch_faults(batches, mistakes, known_only) if batches else []


def _places_of(faults: Sequence[Fault]) -> set[tuple[str, int]]:
    return {(fault.place, fault.k) for fault in faults}


def _finding_of(cost: Cost, fault: Fault, names: Names, remark: str) -> Finding:
    place, k = PLACES[fault.place], fault.k
    dW, db = (f"your {names.get((role, k))}" for role in "Wb")
    shown = f"{dW} and {db} show" if ("b", k) in names else f"{dW} shows"
    words = {"k": k, "above": k + 1, "below": k - 1, "dW": dW, "db": db, "shown": shown}
    formula = formula_of(cost, fault.place, k)
    if fault.batched:
        formula = f"the {cost.reduction} over the examples of {formula}"
    message = f"{place.subject} {fault.why.says}{remark}. It must be {formula}."
    why = fault.why
    return Finding(place.line, place.quantity, k, why.kind, message.format(**words), why.severity)


def formula_of(cost: Cost, place: str, k: int) -> str:
    """What stands in a line of Algorithm 5, by its key in `PLACES`, for one example.

    >>> from fcnet.losses import as_objective
    >>> formula_of(Cost(as_objective("relu", "tanh", "logistic")), "2", 3)
    "(sigmoid(o) - y) * sigma'(z[3])"
    """
    if place == "2":
        linear = is_identity(cost.objective.output_activation)
        return cost.objective.loss.formula + ("" if linear else f" * sigma'(z[{k}])")
    return PLACES[place].formula.format(k=k, above=k + 1, below=k - 1)


def is_identity(activation: Activation) -> bool:
    """Whether sigma(z) = z."""
    z = np.linspace(-8, 8, 33)
    return bool((activated(activation, z) == z).all())
