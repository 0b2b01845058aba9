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
    """One way to read a layer: its delta on the examples that show it, and what is wrong then."""

    examples: Sequence[Example]
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
            below = [_readings(option.examples, k - 1, option.deltas) for option in options]
            costs = [c + min(b.cost for b in bs) for c, bs in zip(costs, below, strict=True)]
        reading = options[costs.index(min(costs))]
        found += reading.faults
        examples, deltas = reading.examples, reading.deltas
    return found


def _readings(examples: Sequence[Example], k: int, above: Sequence[Deltas]) -> list[Reading]:
    """What delta^[k] may have been: as db shows it, as dW shows it, or as it must be."""
    deltas = [{**known, k: e.db(k)} for e, known in zip(examples, above, strict=True)]
    line = delta_steps(examples, k, deltas)
    options = [Reading(examples, deltas, _judge(examples, k, deltas))]
    if not options[0].faults:
        return options
    # dW = delta a^T shows delta on the examples where a is not zero, if its rank is one
    lit = [(e, known) for e, known in zip(examples, above, strict=True) if e.a(k - 1).any()]
    seen = [e for e, _ in lit]
    shown = [{**known, k: _from_weights(e, k)} for e, known in lit]
    if seen and not _wrong(gradient_steps(seen, "W", k, shown)):
        reading, other = Reading(seen, shown, _judge(seen, k, shown)), delta_steps(seen, k, shown)
        if not _wrong(line):  # in coarse precision both may pass for delta: the nearer comes first
            return [reading, *options] if _far(other) < _far(line) else [*options, reading]
        options.append(reading)
        if not _wrong(other):
            return options
        examples, deltas, line = seen, shown, other
    if not _wrong(line):
        return options
    must = [{**known, k: s.expected} for known, s in zip(deltas, line, strict=True)]
    return [*options, Reading(examples, must, _judge(examples, k, must))]


def _far(line: Sequence[Step]) -> float:
    """How far what is taken for delta is from what it must be, relative to its size."""
    sizes = sum(float(abs(step.expected).sum()) for step in line)
    return sum(float(abs(step.got - step.expected).sum()) for step in line) / max(sizes, 1e-300)


def _judge(examples: Sequence[Example], k: int, deltas: Sequence[Deltas]) -> list[Fault]:
    """The wrong lines of layer k, its delta being given."""
    lines = (
        delta_steps(examples, k, deltas),
        gradient_steps(examples, "W", k, deltas),
        gradient_steps(examples, "b", k, deltas),
    )
    return [Fault(line[0].place, k, explain(line, MISTAKES)) for line in lines if _wrong(line)]


def _from_weights(e: Example, k: int) -> Vector:
    """delta^[k] from dW^[k] = delta^[k] a^[k-1]^T, for an a that is not zero."""
    a = e.a(k - 1)
    return e.dW(k) @ a / (a @ a)


def _wrong(line: Sequence[Step]) -> bool:
    return any(step.wrong.any() for step in line)
