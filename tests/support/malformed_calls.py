"""Malformed calls of the public functions, and how a refusal is judged."""

import inspect
import re
import traceback
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import fcnet
from support.malformed_arguments import bad, good

PACKAGE = Path(fcnet.__file__).parent


def required(function: str) -> set[str]:
    parameters = inspect.signature(getattr(fcnet, function)).parameters.values()
    return {p.name for p in parameters if p.default is p.empty}


@st.composite
def malformed(draw: Any) -> tuple[str, str, dict[str, Any]]:
    """A function, an argument, and a call in which it is wrong, left out or unknown."""
    calls = good()
    every = [(name, argument) for name in calls for argument in (*calls[name], "learn_rate")]
    function, argument = draw(st.sampled_from(every))
    call = calls[function]
    if argument not in call:
        return function, argument, {**call, argument: 0.1}
    if argument in required(function) and draw(st.integers(0, 9)) == 0:
        return function, argument, {name: call[name] for name in call if name != argument}
    return function, argument, {**call, argument: draw(bad(function, argument))}


def complaint(
    function: Any, argument: str, call: dict[str, Any], package: Path = PACKAGE
) -> str | None:
    """What is wrong with the way in which a function refuses a call; None if nothing is.

    It must be refused by the files of a package, or by Python for the names of its arguments.
    """
    try:
        function(**call)
    except (TypeError, ValueError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if package not in raised_in.parents and raised_in != Path(__file__):
            return f"raised in {raised_in}: {error}"
        if not re.search(rf"\b{argument}\b", str(error)):
            return f"does not name {argument}: {error}"
        return None
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    return "accepted"
