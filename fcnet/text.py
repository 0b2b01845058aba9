"""Text from elsewhere, read and made safe to print."""

import json
import re
from typing import Any

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""The characters that a terminal obeys, that turn the direction of a line, or that are no text.

Tabs and line feeds are not among them.
"""


def escaped(text: str) -> str:
    r"""Text with escapes, as in Python's literals, in place of unsafe characters.

    >>> print(escaped("clear \x1b[2J the screen"))
    clear \x1b[2J the screen
    """
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def from_json(text: str | bytes, **options: Any) -> Any:
    """`json.loads`, with a ValueError also for text that is nested too deeply.

    >>> from_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
