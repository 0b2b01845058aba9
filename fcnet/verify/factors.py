"""Factors that people forget or put in twice, such as 2 and -1."""

from typing import NamedTuple


class Factor(NamedTuple):
    """A factor.

    Attributes:
        value: of the factor.
        kind: of a finding that has it.
        word: it in words that fit before "it".
        says: what is wrong with numbers that have it, to follow their name.
    """

    value: float
    kind: str
    word: str
    says: str


FACTORS = (
    Factor(-1.0, "sign", "minus", "has the opposite sign"),
    Factor(
        2.0,
        "factor_2",
        "twice",
        "is 2 times too large: a factor 1/2 is missing, or it is added twice",
    ),
    Factor(0.5, "factor_half", "half", "is half of what it must be"),
    Factor(-2.0, "factor_minus_2", "minus twice", "is -2 times what it must be"),
)
