"""The right numbers and the candidate's own side by side: plain data, and as text."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Shaped

from fcnet.verify.shown import LEAST, MOST, WIDTH, apart, shortened, wrapped

State: TypeAlias = Literal["unseen", "agrees", "first", "wrong", "follows", "differs"]

SHOWN = 8
"""The most units of a layer, entries of any other array, and terms of a sum, that are shown."""

DIGITS = 4
"""The significant digits of a number in a table; a difference has two."""

NAME, CELL = 12, 11
"""The columns of the name of a row, and of a number with the space before it."""

STATES: dict[State, str] = {
    "unseen": "",
    "agrees": "{source} agrees",
    "first": "{source} differs, as the first that does",
    "wrong": "{source} differs, and does not follow from your own numbers above either",
    "follows": "{source} differs, but follows from your own numbers above",
    "differs": "{source} differs too",
}
"""What the table says of a quantity; {source} is where the candidate's numbers are from."""

Grid: TypeAlias = tuple[tuple[float, ...], ...]
"""Numbers in rows."""


class Quantity(NamedTuple):
    """A quantity, such as delta[1], as the table shows it: a grid of rows and columns.

    Attributes:
        line: of Algorithm 5; None for what is no part of it.
        layer: k in 1..r; None for what is of no layer.
        name: such as "delta[1]".
        formula: what it must be, in words; "" where none is given.
        source: where the candidate's numbers are from, such as "your dW1"; "" where none are seen.
        state: "unseen", "agrees", "first" for the first one that differs; and of those after it
            "wrong", "follows" from the candidate's own numbers before it, or "differs" where that
            is not known.
        rows, columns: the names of both; a vector is one row without a name.
        right: the right numbers.
        yours: the candidate's; () where none are seen.
        differs: where these differ by more than rounding explains.
        left_out: how many rows and columns are not shown, in words; "" if all are.
    """

    line: int | None
    layer: int | None
    name: str
    formula: str
    source: str
    state: State
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    right: Grid
    yours: Grid
    differs: tuple[tuple[bool, ...], ...]
    left_out: str = ""

    @property
    def says(self) -> str:
        """Whether the candidate's numbers agree, in words; "" where none are seen."""
        return STATES[self.state].format(source=self.source)

    @property
    def heading(self) -> str:
        """The line, the layer, and what it must be."""
        place = [f"line {self.line}"] if self.line else []
        place += [f"layer {self.layer}"] if self.layer else []
        formula = f" = {self.formula}" if self.formula else ""
        return f"{', '.join(place)}{': ' * bool(place)}{self.name}{formula}"


class Table(NamedTuple):
    """The right numbers and the candidate's own on one input.

    Attributes:
        input: its name.
        quantities: in the order in which they are computed.
        arithmetic: one entry of the first quantity that differs, written out with numbers; "" where
            its formula is not known.
        remarks: what is not shown, and why.
    """

    input: str
    quantities: tuple[Quantity, ...]
    arithmetic: str
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The table as plain data."""
        quantities = [
            quantity._asdict() | {"heading": quantity.heading, "says": quantity.says}
            for quantity in self.quantities
        ]
        return self._asdict() | {"quantities": quantities}


def grid(
    values: Shaped[np.ndarray, "_ _"], rows: Sequence[int], columns: Sequence[int]
) -> tuple[tuple[Any, ...], ...]:
    """Some rows and columns of a matrix, of numbers or of whether they differ.

    >>> grid(np.arange(6.0).reshape(2, 3), [1], [0, 2])
    ((3.0, 5.0),)
    """
    return tuple(map(tuple, values[np.ix_(rows, columns)].tolist()))


class Summand(NamedTuple):
    """A product of numbers that is added to others, and words on it."""

    factors: tuple[float, ...]
    words: str = ""

    def value(self, read: Callable[[float], float]) -> float:
        """The product of the factors, each as `read` gives it."""
        return math.prod(map(read, self.factors))


class Arithmetic(NamedTuple):
    """(the sum of some terms) * times / over + plus; only the sum is always there."""

    terms: tuple[Summand, ...]
    times: float | None = None
    over: int = 1
    plus: float | None = None

    def value(self, digits: int) -> float:
        """The result, where each number is rounded to `digits` significant digits first."""

        def read(x: float) -> float:
            return float(_short(x, digits))

        value = math.fsum(term.value(read) for term in self.terms)
        value = value * (1.0 if self.times is None else read(self.times)) / self.over
        return value if self.plus is None else value + read(self.plus)

    def text(self, digits: int) -> str:
        """The sum written out."""
        text = "".join(_signed(term, digits, first=i == 0) for i, term in enumerate(self.terms))
        if len(self.terms) > 1 and (self.times is not None or self.over != 1):
            text = f"({text})"
        if self.times is not None:
            text += f" * {_inner(self.times, digits)}"
        if self.over != 1:
            text += f" / {self.over}"
        if self.plus is not None:
            text += _signed(Summand((self.plus,)), digits, first=False)
        return text


def shortest(terms: Iterable[Summand]) -> tuple[Summand, ...]:
    """The largest terms in their order, and the sum of the others as one.

    >>> len(shortest([Summand((1.0, 2.0))] * 30))
    8
    >>> shortest([Summand((1.0, 2.0))] * 30)[-1]
    Summand(factors=(46.0,), words='23 more')
    """
    given = list(terms)
    if len(given) <= SHOWN:
        return tuple(given)
    values = [term.value(float) for term in given]
    kept = sorted(np.argsort([-abs(value) for value in values], kind="stable")[: SHOWN - 1])
    rest = math.fsum(value for i, value in enumerate(values) if i not in kept)
    return (*(given[i] for i in kept), Summand((rest,), f"{len(given) - len(kept)} more"))


def written_out(name: str, sum: Arithmetic, right: float, yours: str, got: float) -> str:
    """An entry with its arithmetic, in as many digits as give the right number.

    >>> sum = Arithmetic((Summand((0.5, 1.2)), Summand((-0.25, 2.0))), times=0.5)
    >>> written_out("delta[1][2]", sum, 0.05, "your db1[2]", 0.1)
    'delta[1][2] = (0.5 * 1.2 - 0.25 * 2) * 0.5 = 0.05; your db1[2] is 0.1'
    """
    right_text, got_text = apart(right, got)
    enough = (n for n in range(DIGITS, MOST + 1) if _agrees(sum.value(n), right_text))
    text = sum.text(next(enough, MOST))
    middle = "" if text == right_text else f"{text} = "
    return f"{name} = {middle}{right_text}; {yours} is {got_text}"


def _agrees(value: float, text: str) -> bool:
    """Whether a number is the one of a text, in all its digits."""
    digits = len(text.partition("e")[0].replace(".", "").lstrip("-0"))
    return _short(value, max(digits, LEAST)) == text


def _short(x: float, digits: int) -> str:
    return f"{x + 0.0:.{digits}g}"  # without the sign of -0.0


def _inner(x: float, digits: int) -> str:
    text = _short(x, digits)
    return f"({text})" if text.startswith("-") else text


def _signed(term: Summand, digits: int, first: bool) -> str:
    head, *others = term.factors
    is_negative = math.copysign(1, head) < 0  # so is -0.0, which stands for a subtracted 0
    text = " * ".join([_short(abs(head), digits), *(_inner(x, digits) for x in others)])
    text += f" [{term.words}]" if term.words else ""
    if first:
        return f"-{text}" if is_negative and head else text
    return f" - {text}" if is_negative else f" + {text}"


def place_of(table_input: str, has_code: bool) -> str:
    """On which input the numbers are; `has_code` where the report has code that makes it."""
    return f"on {table_input}{', which report.example makes' if has_code else ''}."


def as_text(table: Table, has_code: bool) -> str:
    """The table in at most 100 columns, with its title."""
    lines = wrapped(f"Your numbers beside the right ones, {place_of(table.input, has_code)}")
    lines += [line for remark in table.remarks for line in wrapped(remark)]
    for quantity in table.quantities:
        lines += ["", *_quantity_lines(quantity)]
        if quantity.state == "first" and table.arithmetic:
            lines += wrapped(table.arithmetic)
    return "\n".join(line.rstrip() for line in lines)


def _quantity_lines(quantity: Quantity) -> Iterator[str]:
    mark = ">> " if quantity.state == "first" else ""
    yield from wrapped(f"{mark}{quantity.heading}")
    for sentence in filter(None, (quantity.says, quantity.left_out)):
        yield from wrapped(f"  {sentence}")
    cell = min(max([CELL, *(len(name) + 1 for name in quantity.columns)]), WIDTH - NAME)
    most = (WIDTH - NAME) // cell
    for start in range(0, len(quantity.columns), most):
        part = slice(start, start + most)
        yield from _rows(quantity, part, cell)


def _rows(quantity: Quantity, part: slice, cell: int) -> Iterator[str]:
    """Some columns: the right numbers, and below those that differ the candidate's."""

    def line(name: str, cells: Iterable[str]) -> str:
        return f"  {name:<{NAME - 2}}{''.join(f'{text:>{cell}}' for text in cells)}"

    if any(quantity.columns[part]):
        yield line("", (shortened(name, cell - 1) for name in quantity.columns[part]))
    for i, name in enumerate(quantity.rows):
        right, differs = quantity.right[i][part], quantity.differs[i][part]
        yield line(name or "right", map(number, right))
        if any(differs):
            yours = quantity.yours[i][part]
            errors = zip(yours, right, differs, strict=True)
            yield line("yours", map(number, yours))
            yield line("off by", (f"{y - r:.1e}" if off else "" for y, r, off in errors))


def number(x: float) -> str:
    """A number in a table: four digits, or fewer where its exponent is long.

    >>> number(1 / 3), number(-1.23456e-200), number(-0.0)
    ('0.3333', '-1.23e-200', '0')
    """
    texts = (_short(x, digits) for digits in (DIGITS, DIGITS - 1))
    return next((text for text in texts if len(text) < CELL), f"{x:.1e}")
