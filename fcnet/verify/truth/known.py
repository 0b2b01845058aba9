"""What is right on the cases of a function, found for several cases together and kept.

Cases are compared several times, and of a long loop each run takes a second, for one case as for
ten. Large cases are neither kept nor found together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from fcnet.verify.truth.double import Traced, draws_in_double
from fcnet.verify.truth.evaluate import evaluate
from fcnet.verify.truth.rounding import Spread, jumps, jumps_on, sample_count, spreads
from fcnet.verify.types import Values

Case: TypeAlias = Sequence[Values]
"""All arguments of the function."""

SMALL = 2**12
"""The most numbers that a case may have to be kept."""


def _key(case: Case) -> Any:
    return tuple(leaf.tobytes() for leaf in case)


@dataclass(frozen=True)
class Known:
    """What is known of a function of arrays, by case."""

    function: Traced
    _spreads: dict[Any, Spread] = field(default_factory=dict)
    _jumps: dict[Any, Any] = field(default_factory=dict)
    _cases: dict[Any, Case] = field(default_factory=dict)

    def spread(self, case: Case, floor: float, rounded: bool) -> Spread:
        """What is right on a case, and how far rounding moves it, that of the case too if asked."""
        if not self._is_small(case):
            return self._find([case], floor, rounded)[0]
        self.add([case], floor, rounded)
        return self._spreads[floor, rounded, _key(case)]

    @property
    def largest(self) -> int:
        """The size of the largest array in the function."""
        return self.function.largest

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers that are others without double precision."""
        return draws_in_double(self.function.jaxpr)

    def values(self, case: Case) -> list[Values]:
        """What is right on a case."""
        return list(evaluate(self.function, case))

    def errors(self, case: Case) -> list[Values]:
        """How far that may be off beyond rounding: 0."""
        return [np.zeros(())] * self.function.structure.num_leaves

    def add(self, cases: Sequence[Case], floor: float, rounded: bool) -> None:
        """Find the spreads of cases that will be asked for."""
        small = {(floor, rounded, _key(case)): case for case in cases if self._is_small(case)}
        new = {key: case for key, case in small.items() if key not in self._spreads}
        if new:
            found = self._find([*new.values()], floor, rounded)
            self._spreads.update(zip(new, found, strict=True))
            self._cases.update({key: case for (*_, key), case in new.items()})

    def jumps(self, case: Case, size: float, samples: int) -> list[Values]:
        """How far decisions that moves of this size can change change what is right.

        It is found for all cases that are known: where one is asked for, most will be.
        """
        key = _key(case)
        if key not in self._cases:
            return jumps(self.function, case, size=size, samples=samples)
        if (size, samples, key) not in self._jumps:
            cases = [(each,) for each in self._cases.values()]
            found = jumps_on(self.function, cases, size=size, samples=samples)
            self._jumps.update(
                zip(((size, samples, each) for each in self._cases), found, strict=True)
            )
        return self._jumps[size, samples, key]

    def _is_small(self, case: Case) -> bool:
        return sum(leaf.size for leaf in case) <= SMALL

    def _find(self, cases: Sequence[Case], floor: float, rounded: bool) -> list[Spread]:
        samples = sample_count(sum(leaf.size for leaf in cases[0]))
        pairs = [(case,) for case in cases]
        return spreads(self.function, pairs, samples=samples, floor=floor, rounded=rounded)
