"""The misprints of the notes that change what a program computes, each with the reading to take."""

from typing import NamedTuple


class Misprint(NamedTuple):
    """Where the notes misprint, what stands there, and what this package reads instead."""

    where: str
    printed: str
    reading: str


MISPRINTS: tuple[Misprint, ...] = ()
