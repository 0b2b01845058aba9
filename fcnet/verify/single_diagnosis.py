"""The diagnosis: which lines of Algorithm 5 are wrong, each judged with the candidate's own values.

delta^[k] of an example has three witnesses: dJ/db^[k], which is delta^[k]; dJ/dW^[k], which is
delta^[k] times a^[k-1]^T; and layer k-1, which is computed from it. Where they contradict each
other, that reading of the layer is taken which leaves the fewest and plainest mistakes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcnet.verify.explain import Fault, explain
from fcnet.verify.line import Vector
from fcnet.verify.mistakes import MISTAKES
from fcnet.verify.single import Example
from fcnet.verify.step import Deltas, Step, delta_steps, gradient_steps


class Reading(NamedTuple):
    """One way to read a layer: what its delta was on each example, and what is wrong then."""

    deltas: Sequence[Deltas]
    faults: list[Fault]

    @property
    def cost(self) -> int:
        """What is to be believed for it: few plain mistakes cost least."""
        return sum(fault.why.cost for fault in self.faults)


def single_faults(examples: Sequence[Example]) -> list[Fault]:
    """The wrong lines from the output downwards: root causes only, none for what it inherited.

    An example whose gradient is not finite says little, so it counts only if the others are right.
    """
    finite = [
        e for e in examples if all(np.isfinite(x).all() for g in e.answer.gradient for x in g)
    ]
    return (_faults(finite) if finite else []) or (_faults(examples) if examples else [])


def _faults(examples: Sequence[Example]) -> list[Fault]:
    found: list[Fault] = []
    deltas: Sequence[Deltas] = [{} for _ in examples]
    for k in range(examples[0].r, 0, -1):
        options = _readings(examples, k, deltas)
        costs = [option.cost for option in options]
        if len(options) > 1 and k > 1:  # the third witness: what layer k-1 makes of each reading
            below = [_readings(examples, k - 1, option.deltas) for option in options]
            costs = [c + min(b.cost for b in bs) for c, bs in zip(costs, below, strict=True)]
        reading = options[int(np.argmin(costs))]
        found += reading.faults
        deltas = reading.deltas
    return found


def _readings(examples: Sequence[Example], k: int, above: Sequence[Deltas]) -> list[Reading]:
    """What delta^[k] may have been: as db shows it, as dW shows it, or as it must be."""
    told = _with(above, k, [e.db(k) for e in examples])
    options = [Reading(told, _judge(examples, k, told))]
    line = delta_steps(examples, k, told)
    if not _wrong(line):
        return options
    expected = _with(above, k, [step.expected for step in line])
    # dW = delta a^T shows delta where a is not zero, if its rank is one
    lit = [i for i, e in enumerate(examples) if e.a(k - 1).any()]
    seen = [examples[i] for i in lit]
    shown = _with([above[i] for i in lit], k, [_from_weights(e, k) for e in seen])
    if lit and not _wrong(gradient_steps(seen, "W", k, shown)):
        line = delta_steps(seen, k, shown)
        base = told if _wrong(line) else expected
        deltas = [shown[lit.index(i)] if i in lit else base[i] for i in range(len(examples))]
        options.append(Reading(deltas, _judge(seen, k, shown)))
        if not _wrong(line):
            return options
        expected = _with(above, k, [s.expected for s in delta_steps(examples, k, deltas)])
    return [*options, Reading(expected, _judge(examples, k, expected))]


def _judge(examples: Sequence[Example], k: int, deltas: Sequence[Deltas]) -> list[Fault]:
    """The wrong lines of layer k, its delta being given."""
    lines = (
        delta_steps(examples, k, deltas),
        gradient_steps(examples, "W", k, deltas),
        gradient_steps(examples, "b", k, deltas),
    )
    return [Fault(line[0].place, k, explain(line, MISTAKES)) for line in lines if _wrong(line)]


def _with(above: Sequence[Deltas], k: int, delta: Sequence[Vector]) -> list[Deltas]:
    return [{**deltas, k: own} for deltas, own in zip(above, delta, strict=True)]


def _from_weights(e: Example, k: int) -> Vector:
    """delta^[k] from dW^[k] = delta^[k] a^[k-1]^T, for an a that is not zero."""
    a = e.a(k - 1)
    return e.dW(k) @ a / (a @ a)


def _wrong(line: Sequence[Step]) -> bool:
    return any(step.wrong.any() for step in line)
