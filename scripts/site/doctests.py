"""Doctests stand at the end of a docstring as they are; the site shows them as code."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


def fenced(docstring: str) -> str:
    """The docstring with each doctest in a fence.

    >>> fenced("Sum.\\n\\n>>> 1 + 1\\n2\\n\\nThe source.").splitlines()[2]
    '```pycon'
    """
    return DOCTEST.sub(lambda found: f"```pycon\n{found[0]}\n```", docstring)


class Doctests(griffe.Extension):
    """Fence the doctests of every object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
