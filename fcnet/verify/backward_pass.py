"""A backward pass of the network as a `Subject`: what is right, and what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np

from fcnet.activations import ACTIVATIONS
from fcnet.layouts import Slot
from fcnet.types import Params
from fcnet.verify.candidate import Call, Candidate
from fcnet.verify.compare import Comparison, compare, largest_excess
from fcnet.verify.diagnose.blame import Names
from fcnet.verify.diagnose.decay import SilentAnswer
from fcnet.verify.example import Example, call_of, inputs_to_show, with_imports
from fcnet.verify.inputs import USUAL_N
from fcnet.verify.judge import Trial
from fcnet.verify.network_table import network_table
from fcnet.verify.shown import apart
from fcnet.verify.table import Table
from fcnet.verify.truth.reference import references
from fcnet.verify.truth.terms import without
from fcnet.verify.types import Answer, ArrayKey, Case, Cost, Format, Leaf, Reference
from fcnet.verify.unread import Unread, completed, unread_of, without_biases

OF_RELU = {
    0.0: "ReLU'(0) = 0; the notes take 1, and both are right",
    0.5: "ReLU'(0) = 0.5; the notes take 1, and both are right",
    1.0: "ReLU'(0) = 1, as the notes do",
}
OF_OTHERS = {
    0.0: "the derivative from below; that from above is right too",
    0.5: "the middle of the derivatives on both sides, which are right too",
    1.0: "the derivative from above; that from below is right too",
}
"""How the slope at a kink is said, by its place between that below, 0, and that above, 1."""

ROWS_ALONE = 8
"""Batches of up to this many examples are also tried row by row, to locate their faults."""


@dataclass(frozen=True)
class BackwardPass:
    """A backward pass of the network, as a `Subject` to be judged.

    Attributes:
        cost: the function whose gradient it claims to compute.
        candidate: the user's function.
        format: of what it returns: the coarsest among the parameters, or what JAX makes of it;
            unless that is a difference of parameters.
        silent: gives what it returns where the data contribute nothing.
        unread: arrays whose shape hides their numbers on every input; they are left out.
    """

    cost: Cost
    candidate: Candidate
    format: Format
    silent: Callable[[], list[SilentAnswer]]
    unread: Unread = frozenset()

    independent: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name of the user's function."""
        return self.candidate.name

    @property
    def given(self) -> Format:
        """The format of its parameters."""
        return self.candidate.format

    @property
    def sizes(self) -> tuple[int, ...]:
        """(d, m_1, ..., m_r)."""
        return self.candidate.layout.sizes

    @property
    def slots(self) -> dict[ArrayKey, Slot]:
        """The user's arrays."""
        return {(slot.role, slot.layer): slot for slot in self.candidate.layout.slots}

    def truth(self, case: Case, format: Format) -> Reference:
        """What is right for a case."""
        return self.truths([case], format)[0]

    def truths(self, cases: Sequence[Case], format: Format) -> list[Reference]:
        """What is right for each of several cases, found together."""
        rows = USUAL_N if self.candidate.batched else None
        every = references(self.cost, cases, format, rows)
        return [right._replace(gradient=self.present(right.gradient)) for right in every]

    def present(self, layers: Params) -> Params:
        """The layers with None for each bias that is absent, or cannot be read."""
        return without_biases(self.candidate.layout.present(layers), self.unread)

    def answer(self, case: Case, double: bool = False) -> Answer | None:
        """What the candidate returns for a case, or for the case in float64."""
        return self.readable(self.candidate.call(case, dtype=np.float64 if double else None))

    def readable(self, call: Call) -> Answer | None:
        """What a call returned, completed where some arrays are left out."""
        partial = call.read.partial
        if partial is None or unread_of(partial) != self.unread:
            return call.answer
        right, n = self.truth(call.case, self.format), call.case.n
        rows = self.row_by_row(call.case) if any(role == "W" for role, _ in self.unread) else ()
        share = self.cost.share(n)
        return completed(partial, right, share, rows)

    @property
    def unread_names(self) -> list[str]:
        """The arrays that cannot be read."""
        return [slot.gradient_name for key, slot in self.slots.items() if key in self.unread]

    def moved(self, case: Case, size: float, draw: np.random.Generator) -> Case:
        """The case with moved parameters and inputs, and the same targets if these are others."""
        params, X = jax.tree.map(
            lambda leaf: leaf * (1 + size * draw.uniform(-1, 1, leaf.shape)), (case.params, case.X)
        )
        Y = X if case.reproduces else case.Y
        return self.candidate.representable(case._replace(params=params, X=X, Y=Y))

    def compare(self, case: Case, answer: Answer, format: Format) -> Comparison:
        """An answer beside the reference in a format."""
        return compare(answer, self.truth(case, format), case.name)

    def trial(self, case: Case, answer: Answer, right: Reference | None = None) -> Trial:
        """An answer beside what is right on its case, if that is not given."""
        right = self.truth(case, self.format) if right is None else right
        return Trial(case, right, answer, compare(answer, right, case.name))

    @property
    def gradient_names(self) -> Names:
        """The user's own names of dJ/dW and dJ/db of each layer, where they can be read."""
        unread = {key for key in self.unread if key[0] == "b"}
        return {key: slot.gradient_name for key, slot in self.slots.items() if key not in unread}

    def row_by_row(self, case: Case) -> tuple[Answer, ...]:
        """The data's part of each example of a small batch as a batch of one."""
        n = case.n
        if not 1 < n <= ROWS_ALONE:
            return ()
        answers = [(row, self.answer(row)) for row in rows_of(case)]
        parts = [
            without(answer, self.cost.terms, row) for row, answer in answers if answer is not None
        ]
        return tuple(parts) if len(parts) == n else ()

    def remarks(self, comparisons: Sequence[Comparison]) -> list[str]:
        """What the user's own input cannot show, and the convention for ReLU'(0)."""
        notes = []
        own = [c for c in comparisons if c.case == self.candidate.own.name]
        if not any(any(comparison.informative) for comparison in comparisons):
            notes.append("every gradient was zero or all rounding, which agrees with anything")
        elif own and not any(own[0].informative):
            notes.append(
                "on your input the gradient is zero or all rounding, which proves nothing; "
                "the verdict is from the other inputs"
            )
        seen = {c.convention for c in comparisons if c.convention is not None}
        is_relu = self.cost.objective.activation is ACTIVATIONS["relu"]
        said = OF_RELU if is_relu else OF_OTHERS
        return notes + [
            f"where a pre-activation is exactly 0 it takes {said[c]}" for c in sorted(seen)
        ]

    def example(self, trials: Sequence[Trial]) -> Example:
        """An input of simple numbers, or else the failing one of the fewest examples."""
        failing = [trial for trial in trials if not trial.comparison.ok]
        cases = [trial.case for trial in failing]
        for case, code in inputs_to_show(self.candidate, self.cost.objective.loss, cases):
            answer = self.answer(case) if code else None
            trial = self.trial(case, answer) if answer else None
            if trial and not trial.comparison.ok:
                said = f"{call_of(self.candidate)}: {self.worst_entry(trial.comparison)}"
                return Example(f"{with_imports(code)}\n# {said}", self.numbers(trial))
        least = sorted(failing, key=lambda trial: trial.case.n)[:1]
        return Example("", *map(self.numbers, least))

    def numbers(self, trial: Trial) -> Table:
        """The right numbers of a trial beside the candidate's."""
        return network_table(
            self.cost,
            trial.case,
            trial.reference,
            trial.answer,
            self.slots,
            self.unread,
            self.candidate.learning_rate,
        )

    def worst_entry(self, comparison: Comparison) -> str:
        """The worst entry of a comparison, as returned and as it must be."""
        i = int(np.argmax([largest_excess([excess]) for excess in comparison.excess]))
        leaf = comparison.leaf(i)
        entries = (float(values[i][leaf.index]) for values in (comparison.got, comparison.right))
        got, right = apart(*entries)
        named = self.in_user_terms(leaf)
        return f"{named.path}{list(named.index)} is {got}, and must be {right}"

    def in_user_terms(self, leaf: Leaf) -> Leaf:
        """The leaf with the user's own name and index of the array."""
        slot = self.slots[leaf.path[0], int(leaf.path[1:])]
        return leaf._replace(path=slot.gradient_name, index=slot.where(leaf.index))


def rows_of(case: Case) -> list[Case]:
    """The examples of a batch, each as a batch of one."""
    return [case._replace(X=case.X[i : i + 1], Y=case.Y[i : i + 1]) for i in range(case.n)]
