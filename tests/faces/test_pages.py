"""Every Python block of the README and of the site's pages runs, and prints what is shown below it.

A block may have one wrong line, marked so, with the right one in a comment below it. With that line
the report must say so.
"""

import contextlib
import io
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.untyped

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "scripts/site/pages").rglob("*.md"))]
BLOCK = re.compile(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", re.DOTALL)
WRONG = re.compile(r"^( *).*  # wrong\n *# right: (.*)$", re.MULTILINE)

ROUNDING = re.compile(r"\[\d+(, \d+)*\] +\d\.\de.*|\d+\.\d+(e[-+]\d+)?")
"""What depends on the last digits of a machine's products: the worst entries, and numbers."""

BLOCKS = [
    pytest.param(*block, id=f"{page.stem}-{i}", marks=[pytest.mark.slow] * (page.stem != "README"))
    for page in PAGES
    for i, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
]
SLIPS = [block for block in BLOCKS if WRONG.search(block.values[0])]


def printed(code: str) -> str:
    for library in ("torch", "tensorboard"):
        if library in code:
            pytest.importorskip(library)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "page", "exec"), {"__name__": "page"})
    return output.getvalue()


@pytest.mark.parametrize(("code", "output"), BLOCKS)
def test_examples_print_what_they_say(code: str, output: str) -> None:
    assert ROUNDING.sub("", printed(code)) == ROUNDING.sub("", output)


@pytest.mark.parametrize(("code", "output"), SLIPS)
def test_with_the_right_line_the_report_says_right(code: str, output: str) -> None:
    corrected = printed(WRONG.sub(r"\1\2", code)).lower()
    assert "wrong" in output.lower()
    assert "right" in corrected
    assert "wrong" not in corrected


def test_every_kind_of_code_has_a_slip_and_an_output() -> None:
    assert len(SLIPS) >= 14
    assert all(output for _, output in (block.values for block in SLIPS))


def test_other_output_is_noticed() -> None:
    code, output = BLOCK.findall("```python\nprint(1 + 1)\n```\n\n```text\n3\n```")[0]
    assert printed(code) == "2\n" != output
    assert ROUNDING.sub("", printed(code)) != ROUNDING.sub("", output)
