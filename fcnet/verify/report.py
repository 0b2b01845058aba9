"""The report: a verdict first, then the root causes, then how each array compares."""

import json
import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fcnet.verify.page import HEAD, STYLE, body
from fcnet.verify.types import Finding, Format, Leaf, errors

Verdict = Literal["right", "wrong", "cannot tell"]

SCHEMA = 2
"""The version of report.schema.json."""

FINDING_LINES, SHOWN_LEAVES, NOTE_LINES = 12, 6, 4
"""How much of each the text shows, so that it has at most 30 lines; the rest is counted."""

LEAST_DIGITS = 0.5
"""Where rounding allows fewer digits, the right values are zero or all rounding: no headline."""

WIDTH = 100
"""The width of the text, in characters."""


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

    @property
    def ok(self) -> bool:
        """Whether the verdict is "right"."""
        return self.verdict == "right"

    def __str__(self) -> str:
        """The report as text of at most 30 lines, the verdict first."""
        lines = [f"{self.subject}: {self.verdict.upper()}{self._digits()}{self._warned()}", ""]
        ranked = sorted(self.findings, key=lambda finding: finding.severity)  # errors first
        lines += _some(map(_finding_text, ranked), FINDING_LINES, "finding")
        worst = sorted(self.leaves, key=_error_ratio, reverse=True)[:SHOWN_LEAVES]
        shown = [leaf for leaf in self.leaves if leaf in worst]
        if shown:
            width = max(len(leaf.path) for leaf in shown)
            lines.append(f"{'array':<{width}}  digits agreeing / expected   worst entry")
            lines += [_leaf_text(leaf, width) for leaf in shown]
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
        html = f"<div class=fcnet>{body(self.to_dict())}</div>"
        return html.encode("utf-8", "backslashreplace").decode()  # a name may hold half a character


def unreadable(subject: str, case: str, format: Format, findings: Iterable[Finding]) -> Report:
    """The report on a candidate whose result on the first case cannot be read."""
    return Report(subject, "wrong", (), tuple(findings), (), (case,), format.name, format.u)


def _error_ratio(leaf: Leaf) -> float:
    ratio = leaf.error / leaf.tolerance if leaf.tolerance else math.inf * leaf.error
    return -1.0 if leaf.error == 0 else math.inf if math.isnan(ratio) else ratio


def _finding_text(finding: Finding) -> str:
    where = ["warning"] if finding.severity == "warning" else []
    where += [f"line {finding.line} of Algorithm 5"] if finding.line else []
    where += [f"layer {finding.layer}"] if finding.layer else []
    return f"* {', '.join([*where, finding.kind])}: {finding.message}"


def _leaf_text(leaf: Leaf, width: int) -> str:
    entry = f"[{', '.join(map(str, leaf.index))}]"
    return (
        f"{leaf.path:<{width}}  {leaf.digits:15.1f} / {leaf.digits_expected:<8.1f}   "
        f"{entry} off by {leaf.error:.1e}, rounding {leaf.tolerance:.1e}, on {leaf.case}"
    )


def _some(items: Iterable[str], most: int, what: str) -> list[str]:
    """Items in at most `most` lines, with a count of those left out and an empty line after."""
    blocks = [_wrapped(item) for item in items]
    shown: list[str] = []
    left = len(blocks)
    for block in blocks:
        if shown and len(shown) + len(block) > most:
            break
        shown += block if len(block) <= most else [*block[: most - 1], "  ..."]
        left -= 1
    more = [f"... and {left} more {what}{'s' * (left > 1)}"] if left else []
    return [*shown, *more, ""] if shown else []


def _wrapped(item: str) -> list[str]:
    """The lines of an item, its second and later ones indented."""
    first, *others = item.splitlines()
    lines = textwrap.wrap(first, WIDTH, subsequent_indent="  ")
    return lines + [line for other in others for line in textwrap.wrap(other, WIDTH) or [""]]


def _as_json(value: Any) -> Any:
    """Plain data, with None for each number that is not finite: JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
