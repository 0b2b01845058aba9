"""Which lines of Algorithm 5 go wrong only where there are several examples.

What the candidate returns for each row as a batch of one shows its work on one example, faults
included. A batch that is not the mean of its rows has a fault of its own, which is placed as on one
example: from the output down, root causes only.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fcnet.verify.batch import Batch, BatchLine, batch_lines
from fcnet.verify.explain import CHANCE, KNOWN, UNKNOWN, Explanation, Fault, evidence, explain
from fcnet.verify.line import Mistake, Values
from fcnet.verify.pattern import pattern

UNTRACED = UNKNOWN + 3
"""The cost of an unknown fault in delta, which hides all below it: more than that of an unknown one
in line 5 and a known one below, less than that of two unknown ones."""


class Reading(NamedTuple):
    """One way to read a layer: the rows as they are from there down, and which lines are wrong.

    `batches` is empty where they are not known.
    """

    batches: Sequence[Batch]
    faults: list[Fault]

    @property
    def cost(self) -> int:
        """What is to be believed for it: few plain mistakes cost least."""
        return sum(fault.why.cost for fault in self.faults)


def batch_faults(batches: Sequence[Batch], mistakes: Sequence[Mistake]) -> list[Fault]:
    """The lines that are wrong in batches, the rows being what they are; none for what it inherits.

    `mistakes` are rows of `BATCH_MISTAKES`, and of `ROW_MISTAKES` where the rows are the true ones.
    """
    found: list[Fault] = []
    for k in range(batches[0].r, 0, -1):
        readings = list(_readings(batches, k, mistakes))
        costs = [reading.cost for reading in readings]
        if len(readings) > 1 and k > 1:
            costs = [r.cost + _cost(r.batches, k - 1, mistakes) for r in readings]
        reading = readings[costs.index(min(costs))]
        found += reading.faults
        batches = reading.batches
        if not batches:
            break
    return found


def _cost(batches: Sequence[Batch], k: int, mistakes: Sequence[Mistake]) -> int:
    if not batches:
        return 0
    return min(reading.cost for reading in _readings(batches, k, mistakes))


def _readings(batches: Sequence[Batch], k: int, mistakes: Sequence[Mistake]) -> Iterator[Reading]:
    """Faults of line 5 alone; a known one in delta; or an unknown one, if layer k-1 inherits it."""
    lines = _lines(batches, k)
    plain = Reading(batches, _judge(lines, k, mistakes))
    yield plain
    wrong = [line for line in lines if _wrong(line)]
    if not wrong:
        return
    place = "2" if k == batches[0].r else "4"
    for mistake in mistakes:
        if place not in mistake.places:
            continue
        try:
            edits = [mistake.edit(batch, k) for batch in batches]
        except (ValueError, LookupError):
            continue
        if any(_agree(line, edits) for line in lines):
            after = [batch.after(k, edit) for batch, edit in zip(batches, edits, strict=True)]
            why = Explanation(mistake.kind, mistake.says, KNOWN)
            yield Reading(after, [Fault(place, k, why), *_judge(_lines(after, k), k, mistakes)])
    unknown = any(fault.why.kind == "unknown" for fault in plain.faults)
    if unknown and all(map(_wrong, _lines(batches, k - 1) if k > 1 else lines)):
        why = Explanation("unknown", pattern(wrong[0]), UNTRACED)
        yield Reading((), [Fault(place, k, why)])


def _lines(batches: Sequence[Batch], k: int) -> list[list[BatchLine]]:
    return [batch_lines(batches, place, k) for place in "Wb"]


def _judge(
    lines: Sequence[Sequence[BatchLine]], k: int, mistakes: Sequence[Mistake]
) -> list[Fault]:
    return [Fault(line[0].place, k, explain(line, mistakes)) for line in lines if _wrong(line)]


def _agree(lines: Sequence[BatchLine], edits: Sequence[Values]) -> bool:
    """Whether another delta, or other weights of the rows, explain the lines."""
    pairs = zip(lines, edits, strict=True)
    digits = evidence(lines, (line.batch.edited(line.place, line.k, edit) for line, edit in pairs))
    return digits is not None and (digits >= CHANCE or not _wrong(lines))


def _wrong(lines: Sequence[BatchLine]) -> bool:
    return any(line.wrong.any() for line in lines)
