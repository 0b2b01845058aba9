"""Random reports, whose texts are as odd as names can be, through JSON, HTML and text."""

import json
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import numpy as np
from jsonschema import Draft202012Validator

from campaigns.outcomes import Report as Reporter
from campaigns.outcomes import judged
from fcnet.text import escaped
from fcnet.verify.report import Report
from fcnet.verify.types import FORMATS, Finding, Leaf

VALIDATOR = Draft202012Validator(
    json.loads((files("fcnet.verify") / "report.schema.json").read_text("utf-8"))
)
TEXTS = (
    *("backward", "params[0].W", "dW1", "δ", "日本", "😀", "\u202eabc", "a\nb", "\x1b[31m", "\x00"),
    *("<script>alert(1)</script>", "</style><script>", "<img src=x onerror=alert(1)>", "&lt;"),
    *("\" onload='x'", "' onclick=alert(1) '", "]]>", "<!--", "-->", "</pre>", "\ud800", "&amp"),
    *("It must be <b>", "x. It must be delta[1] x^T.", "sigma'(z)", "^T", "a" * 300, " "),
)  # fmt: skip
PLAIN = ("backward", "it must not be x. It must be delta[1] x^T.")
NUMBERS = (0.0, 1.0, 0.5, 1e-300, 1e300, -1.0, np.nan, np.inf, -np.inf, 5e-324, 1e6)


class Page(HTMLParser):
    """The tags with the names of their attributes, and the text, of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[tuple[str, tuple[str, ...]]] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, tuple(sorted(name for name, _ in attrs))))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(html: str) -> Page:
    """What a browser sees of a page."""
    found = Page()
    found.feed(html)
    found.close()
    return found


def random_report(rng: np.random.Generator, *, plain: bool = False) -> Report:
    """A report that fits its schema; a plain one has no odd text in it."""

    def text() -> str:
        among = PLAIN if plain else TEXTS
        return "".join(among[i] for i in rng.integers(len(among), size=int(rng.integers(1, 4))))

    def texts() -> tuple[str, ...]:
        return tuple(text() for _ in range(int(rng.integers(1, 4))))

    def number() -> float:
        return float(rng.choice(NUMBERS))

    def finding(severity: str) -> Finding:
        line = int(rng.integers(0, 6)) or None
        layer = int(rng.integers(0, 4)) or None
        quantity = str(rng.choice(["delta", "dW", "db", "J", ""]))
        return Finding(line, quantity, layer, "factor_2", text(), severity)  # type: ignore[arg-type]

    def leaf(rows: int, columns: int) -> Leaf:
        heat = tuple(tuple(abs(number()) for _ in range(columns)) for _ in range(rows))
        numbers = (abs(number()), abs(number()), (0, 0), number(), number())
        return Leaf(text(), *numbers, text(), heat)

    sizes = tuple(int(size) for size in rng.integers(1, 5, size=int(rng.integers(2, 5))))
    leaves = [leaf(*shape) for below, m in pairwise(sizes) for shape in ((m, below), (m, 1))]
    verdict = str(rng.choice(["right", "wrong", "cannot tell"]))
    severities = ["warning"] * int(rng.integers(3)) + ["error"] * (verdict == "wrong")
    return Report(
        subject=text(),
        verdict=verdict,  # type: ignore[arg-type]
        leaves=tuple(leaves),
        findings=tuple(map(finding, severities)),
        notes=texts(),
        cases=texts(),
        precision=str(rng.choice([*FORMATS])),
        unit_roundoff=2.0**-24,
        convention=number(),
        sizes=sizes,
        example=text(),
    )


TAGS = set().union(
    *(page(random_report(np.random.default_rng(k), plain=True).to_html()).tags for k in range(50))
)
"""All that a page has where no text of it is odd."""


def fault(report: Report) -> str | None:
    """What is wrong with a report in one of its forms."""
    written = json.loads(report.to_json())
    if error := next(VALIDATOR.iter_errors(written), None):
        return f"its JSON does not fit the schema: {error.message:.200}"
    texts = [report.subject, *report.notes, *report.cases, report.example]
    texts += [leaf.path for leaf in report.leaves]
    if [
        *(written["subject"], *written["notes"], *written["cases"], written["example"]),
        *(leaf["path"] for leaf in written["leaves"]),
    ] != texts:
        return "a text is another in its JSON"
    for html in (report.to_html(), report._repr_html_()):
        found = page(html.encode("utf-8").decode("utf-8"))
        if more := found.tags - TAGS:
            return f"its page has {sorted(more)[0]}"
        if missing := [text for text in texts if _seen(text) not in _seen(found.text)]:
            return f"its page lacks the text {missing[0]!r}"
    lines = str(report).splitlines()
    return None if len(lines) <= 30 else f"its text has {len(lines)} lines"


def _seen(text: str) -> str:
    """A text as reports show it, without blanks."""
    return "".join(escaped(text).split())


def run(seed: int, cases: range, report: Reporter) -> None:
    """Make random reports."""
    for case in cases:
        made = random_report(np.random.default_rng((seed, case)))
        report(judged(lambda made=made: fault(made), f"case {case}"))
