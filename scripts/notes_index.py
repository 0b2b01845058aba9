#!/usr/bin/env python
"""The index of the notes with the tests of each item, which only the repository has.

    python scripts/notes_index.py    # print every item with its functions and tests

A test names its items by `@pytest.mark.notes("(2.12)")` and its misprints by
`@pytest.mark.misprint("(2.19)")`.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from fcnet.notes.index import grouped, table

ROOT = Path(__file__).parents[1]


def marked(source: str, mark: str) -> Iterator[tuple[str, str]]:
    """The arguments of every `@pytest.mark.<mark>(...)` in a test file, each with its test."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == f"pytest.mark.{mark}":
                    for argument in call.args:
                        yield ast.literal_eval(argument), node.name


def tests_by(mark: str) -> Mapping[str, tuple[str, ...]]:
    """The tests, as tests/FILE::TEST, by the arguments of a mark."""
    return grouped(
        (argument, f"{path.relative_to(ROOT).as_posix()}::{test}")
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for argument, test in marked(path.read_text(encoding="utf-8"), mark)
    )


if __name__ == "__main__":
    print(table(tests_by("notes") | tests_by("misprint")))
