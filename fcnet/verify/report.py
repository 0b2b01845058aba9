"""The report: a verdict first, then the root causes, then how each array compares."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fcnet.text import escaped
from fcnet.verify.page import HEAD, STYLE, body
from fcnet.verify.shown import WIDTH, shortened, wrapped
from fcnet.verify.table import Table, as_text
from fcnet.verify.types import Finding, Leaf, errors

Verdict = Literal["right", "wrong", "cannot tell"]

SCHEMA = 3
"""The version of report.schema.json."""

FINDING_LINES, SHOWN_LEAVES, NOTE_LINES = 12, 6, 4
"""How much of each the text shows, so that it has at most 30 lines; the rest is counted."""

LEAST_DIGITS = 0.5
"""Where rounding allows fewer digits, the right values are zero or all rounding: no headline."""

NO_TABLE: dict[Verdict, str] = {
    "right": "Your numbers and the right ones agree on every input: there is no table of them.",
    "wrong": "There is no table of numbers: what is wrong stands in the findings.",
    "cannot tell": "There is no table of numbers: no input shows whether yours are right.",
}
"""What the table says where it has nothing to show."""

LEAF_COLUMNS = ("array", "digits/expected", "worst at", "off by", "rounding", "on")
"""The heads of the table of arrays."""

LEAST_WIDTHS = {-1: 24, 2: 24, 0: 12}
"""The columns that are made narrower where that table is too wide: one after the other, each down
to this width at most."""


class GradientError(AssertionError):
    """What `Report.raise_if_wrong` raises; its message is the report as text."""


@dataclass(frozen=True)
class Report:
    """What a check found. `print(report)` for people, the fields and `to_json` for programs.

    Attributes:
        subject: the name of what was checked.
        verdict: "right", "wrong" or "cannot tell".
        leaves: one for each parameter array, on the input where it compares worst.
        findings: the root causes, in the order of the backward pass, and warnings. A wrong program
            has an error among them, no other has.
        notes: what else a reader should know: the precision seen, the ReLU'(0) seen, where the
            arithmetic is unstable, why nothing is proved.
        cases: the names of the inputs tried.
        precision: the dtype that the tolerance is for, such as "float32".
        unit_roundoff: u of that dtype.
        convention: the ReLU'(0) that the candidate uses, where an input showed it.
        sizes: (d, m_1, ..., m_r) where the candidate is a network's backward pass, else empty; then
            the leaves are W[1], b[1], ..., W[r], b[r], without those absent or not judged.
        example: Python code that makes a small input on which a wrong gradient is wrong, and says
            what is wrong there; "" if there is none.
        numbers: what `table` shows; None where it has nothing to show.
    """

    subject: str
    verdict: Verdict
    leaves: tuple[Leaf, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    cases: tuple[str, ...]
    precision: str
    unit_roundoff: float
    convention: float | None = None
    sizes: tuple[int, ...] = ()
    example: str = ""
    numbers: Table | None = None

    @property
    def ok(self) -> bool:
        """Whether the verdict is "right"."""
        return self.verdict == "right"

    def __str__(self) -> str:
        """The report as text of at most 30 lines, the verdict first."""
        subject = escaped(self.subject)
        lines = [f"{subject}: {self.verdict.upper()}{self._digits()}{self._warned()}", ""]
        ranked = sorted(self.findings, key=lambda finding: finding.severity)  # errors first
        lines += _some(map(_finding_text, ranked), FINDING_LINES, "finding")
        worst = sorted(self.leaves, key=_error_ratio, reverse=True)[:SHOWN_LEAVES]
        shown = [leaf for leaf in self.leaves if leaf in worst]
        if shown:
            lines += _leaf_table(shown)
            if len(shown) < len(self.leaves):
                lines.append(f"... and {len(self.leaves) - len(shown)} more arrays, none worse")
            lines.append("")
        lines += _some((f"- {note}" for note in self.notes), NOTE_LINES, "note")
        return "\n".join(lines).rstrip()

    def _digits(self) -> str:
        leaves = [leaf for leaf in self.leaves if leaf.digits_expected >= LEAST_DIGITS]
        if not (self.ok and leaves):
            return ""
        least = min(leaves, key=lambda leaf: leaf.digits - leaf.digits_expected)
        return f" to {least.digits:.1f} digits; {self.precision} allows {least.digits_expected:.1f}"

    def _warned(self) -> str:
        count = len(self.findings) - len(errors(self.findings))
        return f", with {count} warning{'s' * (count > 1)}" if count else ""

    def table(self) -> str:
        """Your numbers beside the right ones, on the input of `example`, as text of 100 columns.

        Of a backward pass of the network, Algorithm 5 line by line: z, a, delta, dW and db. Yours
        stand below the right ones where a gradient shows them, and the two differ: on one example
        dJ/db^[k] is delta^[k]. The first line that differs is marked, and one entry of it written
        out with numbers. Of any other function its arrays, and the intermediate values that it
        names. At most 8 units of a layer, or entries of an array, are shown: the worst ones.

        Where no number is wrong the table is one sentence that says so. It was made in the check:
        the candidate is not called again.

        >>> import numpy as np
        >>> from fcnet import check
        >>> def backward(params, x, y):
        ...     ((W, b),) = params
        ...     delta = y - W @ x - b
        ...     return [(np.outer(delta, x), delta)]
        >>> params = [(np.array([[1.0, 2.0]]), np.array([0.5]))]
        >>> text = check(backward, params, np.array([3.0, 4.0]), np.array([5.0])).table()
        >>> lines = text.splitlines()
        >>> at = next(i for i, line in enumerate(lines) if line.startswith(">>"))
        >>> print("\\n".join(lines[at : at + 7]))
        >> line 2, layer 1: delta[1] = (o - y)
          your delta[1], which your params[0].b shows, differs, as the first that does
                         unit 0
          right         -0.4688
          yours          0.4688
          off by        9.4e-01
        delta[1][0] = -0.46875 - 0 = -0.46875; your delta[1][0] is 0.46875
        """
        if self.numbers is None:
            return NO_TABLE[self.verdict]
        return as_text(self.numbers, bool(self.example))

    def raise_if_wrong(self) -> None:
        """Raise GradientError with the text of the report unless the verdict is "right".

        Made for tests: `fcnet.check(my_backprop, params, x, y).raise_if_wrong()`.
        """
        if not self.ok:
            raise GradientError(str(self))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data; a number that is not finite becomes None.

        The file report.schema.json beside this one says what is in it, as JSON Schema 2020-12.
        """
        report = {
            "schema": SCHEMA,
            "subject": self.subject,
            "verdict": self.verdict,
            "ok": self.ok,
            "precision": self.precision,
            "unit_roundoff": self.unit_roundoff,
            "convention": self.convention,
            "sizes": self.sizes,
            "findings": [finding._asdict() for finding in self.findings],
            "leaves": [leaf._asdict() for leaf in self.leaves],
            "notes": self.notes,
            "cases": self.cases,
            "example": self.example,
            "numbers": _as_json(self.numbers and self.numbers.to_dict()),
        }
        plain: dict[str, Any] = _as_json(report)
        return plain

    def to_json(self) -> str:
        """The report as JSON: an object with the keys of `to_dict`."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_html(self) -> str:
        """The report as one self-contained HTML page: no script, no request to any network."""
        return f"<!doctype html>\n<html lang=en>{HEAD}<body>{self._content()}</body></html>\n"

    def _repr_html_(self) -> str:
        return f"<style>{STYLE}</style>{self._content()}"

    def _content(self) -> str:
        return escaped(f"<div class=fcnet>{body(self.to_dict())}</div>")


def _error_ratio(leaf: Leaf) -> float:
    ratio = leaf.error / leaf.tolerance if leaf.tolerance else math.inf * leaf.error
    return -1.0 if leaf.error == 0 else math.inf if math.isnan(ratio) else ratio


def _finding_text(finding: Finding) -> str:
    where = ["warning"] if finding.severity == "warning" else []
    where += [f"line {finding.line} of Algorithm 5"] if finding.line else []
    where += [f"layer {finding.layer}"] if finding.layer else []
    return f"* {', '.join([*where, finding.kind])}: {finding.message}"


def _leaf_table(leaves: Sequence[Leaf]) -> list[str]:
    """A line for each array; what does not fit is shortened in the middle."""
    rows = [LEAF_COLUMNS, *map(_leaf_row, leaves)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, least in LEAST_WIDTHS.items():
        beyond = sum(widths) + 2 * (len(widths) - 1) - WIDTH
        if beyond > 0:
            widths[i] = min(widths[i], max(widths[i] - beyond, least))
    cells = ((shortened(x, w).ljust(w) for x, w in zip(row, widths, strict=True)) for row in rows)
    return ["  ".join(row).rstrip() for row in cells]


def _leaf_row(leaf: Leaf) -> tuple[str, ...]:
    return (
        escaped(leaf.path),
        f"{leaf.digits:4.1f} / {leaf.digits_expected:.1f}",
        f"[{', '.join(map(str, leaf.index))}]",
        f"{leaf.error:.1e}",
        f"{leaf.tolerance:.1e}",
        leaf.case,
    )


def _some(items: Iterable[str], most: int, what: str) -> list[str]:
    """Items in at most `most` lines, with a count of those left out and an empty line after."""
    blocks = list(map(wrapped, items))
    shown: list[str] = []
    left = len(blocks)
    for block in blocks:
        if shown and len(shown) + len(block) > most:
            break
        shown += block if len(block) <= most else [*block[: most - 1], "  ..."]
        left -= 1
    more = [f"... and {left} more {what}{'s' * (left > 1)}"] if left else []
    return [*shown, *more, ""] if shown else []


def _as_json(value: Any) -> Any:
    """Plain data, with None for each number that is not finite: JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
