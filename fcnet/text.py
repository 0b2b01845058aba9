"""Text from elsewhere, made safe to print."""

import re

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
