"""A weight decay read apart from every other mistake: on inputs where the data contribute nothing.

With x = 0, dJ/dW^[1] = delta^[1] 0^T is 0, whatever delta^[1] is. With W^[r] = 0 the deltas below
layer r are 0, and with a^[r-1] = 0 so is dJ/dW^[r]. What a candidate returns there for a multiple
of its parameters is a term of the parameters alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcnet.types import Activation, Layer
from fcnet.verify.candidate import Candidate
from fcnet.verify.truth.functions import activated
from fcnet.verify.truth.terms import ZERO, Decay, Multiple, Penalty, PowerOfN, total
from fcnet.verify.types import ArrayKey, Case, Cost, Finding, Format, Term, Values, array_at

POWERS = (0, -1, 1)
"""A coefficient is the same for every n, or proportional to 1/n, or to n."""

ROUNDINGS = 64
"""Units of rounding within which two coefficients are the same."""

SHORT = 6
"""The most digits of the coefficients that people write."""

OFF = -800.0
"""A pre-activation at which sigmoid, softplus and their like are exactly 0."""


class Silent(NamedTuple):
    """A case on which the data contribute nothing to the gradients of some arrays."""

    case: Case
    shows: tuple[ArrayKey, ...]


def silent_cases(case: Case, hidden: Activation) -> list[Silent]:
    """The cases of the same n that show the terms of all weights, and of the biases below layer r.

    Args:
        case: its parameters should have no special values.
        hidden: the activation of the hidden layers.
    """
    zero, r = np.zeros_like(case.X), case.r
    if r == 1:
        return [Silent(case._replace(X=zero), (("W", 1),))]
    below: list[Any]
    *below, last = case.params
    cut = (*below, last._replace(W=0 * last.W))
    biases = [("b", k) for k in range(1, r) if below[k - 1].b is not None]
    shown = (*(("W", k) for k in range(1, r)), *biases)
    silent = [Silent(case._replace(params=cut, X=zero), shown)]
    W: Any = below[-1].W
    b: Any = below[-1].b
    off = [z for z in (0.0, OFF) if not activated(hidden, np.array([z]))]
    if off and (b is not None or not off[0]):
        fill: Any = None if b is None else np.full_like(b, off[0])
        dark = Layer(0 * W, fill)
        params = (*below[:-1], dark, last)
        silent.append(Silent(case._replace(params=params, X=zero), (("W", r),)))
    return silent


class SilentAnswer(NamedTuple):
    """What a candidate returned for an array to which the data contribute nothing."""

    key: ArrayKey
    case: Case
    got: Values


def silent_answers(
    candidate: Candidate, cases: Sequence[Case], hidden: Activation
) -> list[SilentAnswer]:
    """What a candidate returns on the silent cases.

    Args:
        candidate: the user's function.
        cases: one, or two of different n, without special values.
        hidden: the activation of the hidden layers.
    """
    present = candidate.layout.present
    return [
        SilentAnswer(key, silent.case, array_at(got.gradient, key))
        for case in cases
        for silent in silent_cases(case._replace(params=present(case.params)), hidden)
        if (got := candidate.call(silent.case).answer) is not None
        for key in silent.shows
    ]


class SeenDecay(NamedTuple):
    """A decay that was read off answers: a coefficient for each array."""

    W: tuple[PowerOfN, ...]
    b: tuple[PowerOfN, ...]

    @property
    def term(self) -> Decay:
        """The term of a cost that has this decay."""
        return Decay(self.W, self.b)


def read_decay(
    answers: Sequence[SilentAnswer], others: Sequence[Term], format: Format
) -> SeenDecay | None:
    """What multiples of its parameters a candidate adds to its gradients.

    Args:
        answers: on silent cases.
        others: the terms that it should have beside a decay.
        format: of what it returns.

    Returns:
        The decay, perhaps with all factors 0. What no case shows counts like its neighbour in the
        layer below. None if what is returned is no multiple of the parameters.
    """
    found: dict[ArrayKey, dict[int, float]] = {}
    for key, case, got in answers:
        term, theta = array_at(total(others, case).gradient, key), array_at(case.params, key)
        rounding = format.u * abs(term) + format.lost * abs(theta)
        c = _multiple(got - term, theta, rounding, format)
        if c is None:
            return None
        found.setdefault(key, {})[case.n] = c
    numbers = max(found.values(), key=len, default={})
    if ("W", 1) not in found or any(len(cs) < len(numbers) for cs in found.values()):
        return None
    read = {key: _power_of_n(cs, format) for key, cs in found.items()}
    known = {key: c for key, c in read.items() if c is not None}
    if len(known) < len(read):
        return None
    r = answers[0].case.r
    W, b = (
        tuple(known.get((role, k), known.get((role, k - 1), ZERO)) for k in range(1, r + 1))
        for role in "Wb"
    )
    return SeenDecay(W, b)


def _power_of_n(cs: Mapping[int, float], format: Format) -> PowerOfN | None:
    """The coefficient with these values at some n; None if it is no power of n."""
    n, c = next(iter(cs.items()))
    powers = (PowerOfN(_short(c / float(n) ** power, format), power) for power in POWERS)
    fitting = (f for f in powers if all(_is_same(c, f(n), format) for n, c in cs.items()))
    return next(fitting, None)


def read_factor(answers: Sequence[SilentAnswer], term: Term, format: Format) -> float | None:
    """What multiple of a term a candidate has; None if it has another term, or several."""
    if not answers:
        return None
    got = np.concatenate([one.got.ravel() for one in answers])
    right = np.concatenate([array_at(term(case).gradient, key).ravel() for key, case, _ in answers])
    theta = np.concatenate([array_at(case.params, key).ravel() for key, case, _ in answers])
    return _multiple(got, right, format.lost * abs(theta), format) if right.any() else None


@np.errstate(all="ignore")  # a wrong candidate may return any values
def _multiple(g: Values, base: Values, rounding: Values, format: Format) -> float | None:
    """c of g = c base, where g has these rounding errors; None if g is no multiple of base."""
    c = float(np.sum(g * base) / np.sum(base * base))
    allowed = ROUNDINGS * (format.u * abs(c * base) + rounding)
    return c if np.isfinite(g).all() and (abs(g - c * base) <= allowed).all() else None


def _is_same(a: float, b: float, format: Format) -> bool:
    return abs(a - b) <= ROUNDINGS * (format.u * abs(a) + format.lost)


def _short(c: float, format: Format) -> float:
    """The number of the fewest digits that rounding cannot tell from c."""
    numbers = (0.0, *(float(f"{c:.{digits}g}") for digits in range(1, SHORT + 1)))
    return next((number for number in numbers if _is_same(c, number, format)), c)


def odd_terms(
    answers: Sequence[SilentAnswer],
    cost: Cost,
    n: int,
    names: Mapping[ArrayKey, str],
    format: Format,
    rate: float | None,
) -> tuple[list[Finding], Cost]:
    """A finding if a candidate's terms are not those of the cost, and the cost with its own terms.

    Args:
        answers: on silent cases.
        cost: what it claims to differentiate.
        n: the user's own number of examples.
        names: the candidate's own names of its gradients.
        format: of what it returns.
        rate: of the step that it takes; None if it returns the gradient.
    """
    penalties = tuple(term for term in cost.terms if isinstance(term, Penalty))
    for penalty in penalties if penalties == cost.terms else ():
        factor = read_factor(answers, penalty, format)
        if factor is not None and not _is_same(1.0, factor, format):
            return [_penalty_finding(factor)], cost._replace(terms=(Multiple(factor, penalty),))
    if decay := read_decay(answers, penalties, format):
        asked = decay_of(cost, max(k for _, k in names))
        return decay_findings(decay, asked, n, names, format, rate), with_decay(cost, decay.term)
    return [], cost


def _penalty_finding(factor: float) -> Finding:
    if not factor:
        message = "your gradient lacks that of the penalty that you described."
        return Finding(5, "dW", None, "penalty_missing", message)
    message = f"your gradient has {factor:.6g} times that of the penalty that you described added."
    return Finding(5, "dW", None, "penalty_scaled", message)


def decay_of(cost: Cost, r: int) -> Decay:
    """The decay that a cost of r layers has."""
    none = Decay((ZERO,) * r, (ZERO,) * r)
    return next((term for term in cost.terms if isinstance(term, Decay)), none)


def with_decay(cost: Cost, decay: Decay) -> Cost:
    """The cost with another decay."""
    others = tuple(term for term in cost.terms if not isinstance(term, Decay))
    return cost._replace(terms=(*others, decay))


def decay_findings(
    seen: SeenDecay,
    asked: Decay,
    n: int,
    names: Mapping[ArrayKey, str],
    format: Format,
    rate: float | None,
) -> list[Finding]:
    """Where a candidate's decay is not that of the cost, at n examples: one finding, or none.

    Args:
        seen: the candidate's.
        asked: that of the cost.
        n: the user's own number of examples.
        names: the candidate's own names of its gradients.
        format: of what the candidate returns.
        rate: of the step that it takes, which may drop the old parameters; None if it takes none.
    """
    has, wants = _factors(seen.term, n), _factors(asked, n)
    odd = [key for key in names if not _is_same(wants[key], has[key], format)]
    if not odd:
        return []
    groups: dict[tuple[str, float, float], list[ArrayKey]] = {}
    for key in odd:
        groups.setdefault((key[0], has[key], wants[key]), []).append(key)
    dropped = {key for key in odd if rate and _is_same(1 / rate, has[key] - wants[key], format)}
    parts = [
        _part(*numbers, [names[key] for key in keys], dropped.issuperset(keys))
        for numbers, keys in groups.items()
    ]
    advice = _advice(seen, {key: has[key] for key in odd if key not in dropped}, n)
    kind = "weight_decay" if any(has[key] for key in odd) else "decay_missing"
    layers = {k for _, k in odd}
    return [
        Finding(
            line=5,
            quantity="dW" if any(role == "W" for role, _ in odd) else "db",
            layer=layers.pop() if len(layers) == 1 else None,
            kind="overwritten" if dropped else kind,
            message=". ".join(["; ".join(parts), *advice]) + ".",
        )
    ]


def _factors(decay: Decay, n: int) -> dict[ArrayKey, float]:
    """What multiple of each array a decay adds to its gradient."""
    return {
        (role, k): c(n)
        for role, coefficients in (("W", decay.W), ("b", decay.b))
        for k, c in enumerate(coefficients, start=1)
    }


def _part(role: str, c: float, asked: float, names: Sequence[str], dropped: bool) -> str:
    """What is wrong with gradients that have c times their parameters, not `asked` times.

    `dropped` says that a step has dropped the old parameters.
    """
    own, many = ", ".join(names), len(names) > 1
    has, lacks, its = ("have", "lack", "their") if many else ("has", "lacks", "its")
    what = f"{its} {'weights' if role == 'W' else 'biases' if many else 'bias'}"
    if not c:
        return f"your {own} {lacks} the l2 term, {asked:.6g} times {what}"
    if dropped:
        step = f"{role} = -lr d{role}, and must be {role} - lr d{role}"
        return f"your {own} {has} {what} / lr added: the step drops the old values, {step}"
    added = f"your {own} {has} {c:.6g} times {what} added"
    if asked:
        return f"{added}, and l2 asks for {asked:.6g} times"
    return f"{added}, a weight decay that the loss you described does not have"


def _advice(seen: SeenDecay, has: dict[ArrayKey, float], n: int) -> list[str]:
    """The keyword to pass if the candidate's decay is meant, from the arrays that are odd."""
    if not any(has.values()):
        return []
    leaves_out = "l2= leaves biases out: if your loss has theirs too, pass penalty= instead"
    if all(role == "b" for role, _ in has):
        return [leaves_out]
    c, *others = seen.W
    if any(other != c for other in others):
        return [
            "If your loss is so, pass penalty=, a JAX function of your params: l2= is for the "
            "weights of all layers alike"
        ]
    if c.factor < 0:
        return ["An l2 term adds to each weight's gradient: its sign is wrong"]
    general = {-1: f"{c.factor:.6g} / n", 1: f"{c.factor:.6g} * n"}.get(c.power)
    anyway = f" (at your n = {n}; in general l2=lambda n: {general})" if general else ""
    advice = [f"If your loss has it, pass l2={c(n):.6g}{anyway}"]
    if any(factor for (role, _), factor in has.items() if role == "b"):
        advice.append(leaves_out)
    return advice


def decay_note(cost: Cost, case: Case) -> str:
    """What the decay of a cost adds on a case, as a note on the loss that was judged."""
    has = _factors(decay_of(cost, case.r), case.n)
    factors = {role: {c for (own, _), c in has.items() if own == role} for role in "Wb"}
    (c, *others), biases = factors["W"], factors["b"] - {0.0}
    if others or biases - {c}:
        return "for the loss plus a decay of some parameters, which your own loss has"
    squared = "squared weights" + (" and biases" if biases else "")
    return f"for the loss plus {c / 2:.6g} times the sum of {squared}, which your own loss has"
