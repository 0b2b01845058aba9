"""The index of the notes is complete: a function and a test an item, a test a misprint."""

from pathlib import Path

import pytest

from fcnet.notes.index import ITEMS, by_mark, documented, index, markdown, marked, mentions
from fcnet.notes.misprints import MISPRINTS

README = Path(__file__).parents[2] / "README.md"


def uncovered(items):
    return [item.name for item in items if not (item.functions and item.tests)]


def test_every_item_has_a_function_and_a_test():
    assert uncovered(index()) == []


def test_an_item_without_function_or_test_is_noticed():
    item = ITEMS[0]
    assert uncovered([item._replace(functions=("f",))]) == [item.name]
    assert uncovered([item._replace(tests=("t",))]) == [item.name]
    assert uncovered([item._replace(functions=("f",), tests=("t",))]) == []


def test_every_misprint_has_a_test_and_every_mark_a_misprint():
    assert set(by_mark("misprint")) == {misprint.where for misprint in MISPRINTS}


def test_every_mark_names_an_item():
    assert set(by_mark("notes")) <= {item.name for item in ITEMS}


def test_equations_are_numbered_without_gaps():
    last = {"1": 5, "2": 21, "3": 16, "4": 4}
    wanted = {f"({s}.{k})" for s, end in last.items() for k in range(1, end + 1)}
    assert wanted == {item.name for item in ITEMS if item.name.startswith("(")}


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("by (3.12) and\n(3.15)", {"(3.12)", "(3.15)"}),
        ("(2.16) to (2.18)", {"(2.16)", "(2.17)", "(2.18)"}),
        ("(3.1)-(3.2), Theorem 3.1", {"(3.1)", "(3.2)", "Theorem 3.1"}),
        ("lines of Algorithm\n5, Footnote 1", {"Algorithm 5", "Footnote 1"}),
        ("1{z >= 0}, f(2.0), 3.1", set()),
    ],
)
def test_mentions(text, items):
    assert mentions(text) == items


def test_private_names_and_plain_decorators_are_left_out():
    assert list(documented('def _f():\n    "(1.1)"')) == []
    source = '@pytest.mark.slow\n@pytest.mark.misprint("x")\ndef test_f(): ...'
    assert list(marked(source, "notes")) == []
    assert list(marked(source, "misprint")) == [("test_f", "x")]


def test_the_readme_shows_the_index_as_it_is():
    assert markdown() in README.read_text(encoding="utf-8"), (
        "README.md is out of date: paste the output of `fcnet notes --markdown` between its marks"
    )
