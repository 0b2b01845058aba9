"""The index of the notes is complete: a function and a test an item, a test a misprint."""

import runpy
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcnet.notes import index as package_index
from fcnet.notes.index import ITEMS, documented, index, markdown, mentions, table
from fcnet.notes.misprints import MISPRINTS

ROOT = Path(__file__).parents[2]
script = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "notes_index.py")))
by_mark = cache(script.tests_by)


def without_functions(items):
    return [item.name for item in items if not item.functions]


def without_tests(names, tests):
    return [name for name in names if not tests.get(name)]


def test_every_item_has_a_function():
    assert without_functions(index()) == []
    assert without_functions(ITEMS[:1]) == [ITEMS[0].name]


def test_every_item_has_a_test_and_every_mark_an_item():
    tests, names = by_mark("notes"), [item.name for item in ITEMS]
    assert without_tests(names, tests) == []
    assert set(tests) == set(names)
    assert without_tests(names, {**tests, "(2.12)": ()}) == ["(2.12)"]


def test_every_misprint_has_a_test_and_every_mark_a_misprint():
    assert set(by_mark("misprint")) == {misprint.where for misprint in MISPRINTS}


def test_the_tests_of_an_item_are_shown_where_they_are_given():
    tests = by_mark("notes") | by_mark("misprint")
    (first,) = tests["(2.14)"][:1]
    assert first.startswith("tests/core/test_activations.py::test_")
    assert first in table(tests)
    assert tests["(2.19)"][0] in table(tests)
    assert "tests/" not in table() + markdown()


def test_the_package_reads_no_file_outside_itself(tmp_path):
    """An installed package may lie beside a folder `tests` that is not fcnet's."""
    shutil.copytree(package_index.PACKAGE, tmp_path / "fcnet")
    (tmp_path / "tests").mkdir()
    foreign = '@pytest.mark.notes("(2.12)")\ndef test_of_another_library(): ...'
    (tmp_path / "tests" / "test_foreign.py").write_text(foreign)
    code = "from fcnet.notes import index; print(index.__file__); print(index.table())"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.startswith(str(tmp_path / "fcnet"))
    assert shown.partition("\n")[2].strip() == table()


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
    assert list(script.marked(source, "notes")) == []
    assert list(script.marked(source, "misprint")) == [("x", "test_f")]
