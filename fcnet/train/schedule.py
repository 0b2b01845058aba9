"""When a run is evaluated, and when it ends."""

from typing import Any, NamedTuple

from fcnet.checks import as_count
from fcnet.sampling import INT32_MAX


class Schedule(NamedTuple):
    """The number of steps, and the steps between two evaluations; None evaluates at the end only.

    >>> Schedule(steps=25, evaluate_every=10).evaluated
    [0, 10, 20, 25]
    """

    steps: int
    evaluate_every: int | None

    def evaluates(self, step: int) -> bool:
        """Whether the history has an entry for the parameters after this step."""
        every = self.evaluate_every
        return step == self.steps or (every is not None and step % every == 0)

    @property
    def evaluated(self) -> list[int]:
        """The steps that the history has entries for."""
        regular = range(0, self.steps, self.evaluate_every) if self.evaluate_every else ()
        return [*regular, self.steps]


def as_schedule(steps: object, evaluate_every: object) -> Schedule:
    """The checked schedule."""
    count = as_count("steps", steps, least=0, most=INT32_MAX)
    if evaluate_every is None:
        return Schedule(count, None)
    return Schedule(count, as_count("evaluate_every", evaluate_every, least=1))


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
