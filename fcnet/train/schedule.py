"""When a run is evaluated, and when it ends."""

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from fcnet.checks import as_count
from fcnet.sampling import INT32_MAX

Spacing: TypeAlias = int | Literal["log"] | None
"""The steps between two evaluations. "log" makes eight while the number of steps doubles, so that
they come closer at the start; None makes one, at the end."""


EARLY = 128
"""Patience does not count the evaluations of "log" up to this step, which are close together: some
runs get worse at first, and one that waits for 16 evaluations takes 512 steps or more."""


class Schedule(NamedTuple):
    """The number of steps, and the steps between two evaluations.

    >>> Schedule(steps=25, evaluate_every=10).evaluated
    [0, 10, 20, 25]
    >>> Schedule(steps=50, evaluate_every="log").evaluated[16:]
    [16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 50]
    """

    steps: int
    evaluate_every: Spacing

    def evaluates(self, step: int) -> bool:
        """Whether the history has an entry for the parameters after this step."""
        return step == self.steps or (
            self.evaluate_every is not None and step % self._spacing(step) == 0
        )

    def after(self, step: int) -> int:
        """The step of the first evaluation after this step, if it is not the last step."""
        spacing = self._spacing(step)
        return min(self.steps, step - step % spacing + spacing)

    @property
    def evaluated(self) -> list[int]:
        """The steps that the history has entries for."""
        step, found = 0, [0] if self.evaluates(0) else []
        while step < self.steps:
            step = self.after(step)
            found.append(step)
        return found

    def waited(self, evaluated: np.ndarray) -> int:
        """The number of evaluations at these steps that patience counts.

        >>> Schedule(1000, "log").waited(np.array([120, 128, 144, 160]))
        2
        """
        return int((evaluated > (EARLY if self.evaluate_every == "log" else 0)).sum())

    def _spacing(self, step: int) -> int:
        """The steps between two evaluations where `step` is."""
        if self.evaluate_every == "log":
            return 1 << max(0, step.bit_length() - 4)
        return self.evaluate_every or max(1, self.steps)


def as_schedule(steps: object, evaluate_every: object) -> Schedule:
    """The checked schedule."""
    count = as_count("steps", steps, least=0, most=INT32_MAX)
    if evaluate_every is None:
        return Schedule(count, None)
    if not isinstance(evaluate_every, str):
        return Schedule(count, as_count("evaluate_every", evaluate_every, least=1))
    if evaluate_every != "log":
        raise ValueError(
            f'evaluate_every must be a number of steps, "log" or None, got {evaluate_every!r}'
        )
    return Schedule(count, "log")


def as_patience(patience: object, validation: object, schedule: Schedule) -> int | None:
    """The number of evaluations to wait for a lower validation loss."""
    if patience is None:
        return None
    count = as_count("patience", patience, least=1)
    if validation is None:
        raise ValueError("patience needs validation data: give validation=(X, Y) or a share")
    if schedule.evaluate_every is None:
        raise ValueError(
            "patience counts evaluations, of which evaluate_every=None makes one, at the end: give "
            "the number of steps between two"
        )
    return count


def check_progress(progress: Any, arguments: str) -> None:
    """Raise unless `progress` is None or a function; `arguments` says of what."""
    if progress is not None and not callable(progress):
        raise TypeError(
            f"progress must be a function of {arguments}, got {type(progress).__name__}"
        )
