"""Every Python block of the README runs, and prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", re.DOTALL)


def printed(code):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "README.md", "exec"), {})
    return output.getvalue()


def test_there_are_examples_with_output():
    assert any(output for _, output in BLOCK.findall(README.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("code", "output"), BLOCK.findall(README.read_text(encoding="utf-8")))
def test_examples_print_what_they_say(code, output):
    assert printed(code) == output


def test_other_output_is_noticed():
    code, output = BLOCK.findall("```python\nprint(1 + 1)\n```\n\n```text\n3\n```")[0]
    assert printed(code) == "2\n" != output
