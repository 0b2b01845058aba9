#!/usr/bin/env python
"""The index of the notes with the tests of each item, which only the repository has.

    python scripts/notes_index.py            # print every item with its functions and tests
    python scripts/notes_index.py --write    # write the tables of README.md
    python scripts/notes_index.py --check    # exit status 1 if these are out of date

A test names its items by `@pytest.mark.notes("(2.12)")` and its misprints by
`@pytest.mark.misprint("(2.19)")`.
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from fcnet.notes.index import grouped, markdown, table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- begin: scripts/notes_index.py -->\n", "<!-- end: scripts/notes_index.py -->\n"


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


def with_tables(readme: str, tables: str) -> str:
    """The README with these tables between the two marks.

    Raises ValueError unless each mark is there once, in this order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ValueError(f"README must have {BEGIN.strip()} and then {END.strip()}, each once")
    return f"{before}{BEGIN}\n{tables}\n\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write the tables of README.md")
    action.add_argument("--check", action="store_true", help="compare the tables of README.md")
    arguments = parser.parse_args()
    if not (arguments.write or arguments.check):
        print(table(tests_by("notes") | tests_by("misprint")))
        return
    readme = README.read_text(encoding="utf-8")
    new = with_tables(readme, markdown(tests_by("notes")))
    if arguments.write:
        README.write_text(new, encoding="utf-8")
    elif new != readme:
        sys.exit("README.md is out of date: run python scripts/notes_index.py --write")


if __name__ == "__main__":
    main()
