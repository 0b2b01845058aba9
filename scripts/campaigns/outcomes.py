"""What can become of a case, and how that is judged."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fcnet

OUTCOMES = {
    "survived": "the result is right",
    "refused": "an error of the package's own, in its words",
    "foreign": "an error of another library, without a word of the package, or a crash",
    "wrong": "another result than the right one",
    "lost": "what was stored before is no longer there",
    "hang": "no end within the limit",
}
"""The first two are as promised; each of the others is a fault."""

PROMISED = ("survived", "refused")
PACKAGE = Path(fcnet.__file__).parent


class Result(NamedTuple):
    """What became of a case; the detail of a fault says how to see it again."""

    outcome: str
    detail: str = ""


Report = Callable[[Result], None]
"""Takes the result of each case as soon as it is known."""


def judged(
    attempt: Callable[[], str | None], case: str, *, names: str = "", own: tuple[type, ...] = ()
) -> Result:
    """What becomes of an attempt.

    Args:
        attempt: returns None for a right result, and otherwise what is wrong, in words. What it
            raises is judged, too.
        case: in words, for the detail.
        names: what an error must name, such as a file.
        own: the errors that the package may raise beside ValueError and TypeError.
    """
    try:
        wrong = attempt()
    except Exception as error:
        allowed = isinstance(error, (ValueError, TypeError, *own)) and names in str(error)
        if allowed and _is_ours(error):
            return Result("refused")
        return Result("foreign", f"{case}: {_shown(error)}")
    return Result("wrong", f"{case}: {wrong}") if wrong else Result("survived")


def _is_ours(error: BaseException) -> bool:
    """Whether the package raised an error, with words; or the system did, for a file it names."""
    if isinstance(error, OSError) and error.filename is not None:
        return True
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return PACKAGE in raised_in.parents and bool(str(error).strip())


def _shown(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = [f for f in traceback.extract_tb(error.__traceback__) if str(PACKAGE) in f.filename]
    by = f", called in {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}{by}: {text:.300}"
