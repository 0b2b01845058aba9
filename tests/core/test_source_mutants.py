"""The tests tested: wrong versions of the core, each of which a named test must notice.

A mutant is the package's own source with one piece replaced. The test that must fail on it is an
ordinary one of this suite, which gets the wrong package in place of the right one.
"""

import ast
import importlib
import inspect
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import pytest
import test_activations
import test_backpropagation
import test_invariants
import test_losses
import test_network
from support import source_mutants_backward as gradient
from support import source_mutants_forward as core
from support.source_mutants import PACKAGE, Mutant, mutants, mutated, tree_of

import fcnet

MUTANTS = [
    *(core.ACTIVATIONS + core.LOSSES + core.NETWORK),
    *(gradient.FORWARD + gradient.BACKPROP + gradient.SGD + gradient.SAMPLING),
]


def run(test: Callable[..., None], parameters: tuple[tuple[str, Any], ...], fc: ModuleType) -> None:
    """A test on a package, with what its fixtures would give it."""
    fixtures = {"fc": fc, "key": jax.random.key(0)}
    asked = {name: fixtures[name] for name in inspect.signature(test).parameters.keys() & fixtures}
    with jax.enable_x64(True):
        test(**asked, **dict(parameters))


@cache
def run_on_the_right_package(test: Callable[..., None], *parameters: tuple[str, Any]) -> None:
    run(test, parameters, fcnet)


def loaded() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == "fcnet"]


@pytest.fixture
def wrong_package(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """A copy of the package with the one edit, imported under its name for the time of a test."""
    copy = tmp_path / "fcnet"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    wrong = mutated(tree_of(mutant.file), mutant)
    (copy / mutant.file).write_text(wrong, encoding="utf-8")
    for name in dir(fcnet):
        getattr(fcnet, name)  # at a first use later, the right package would load parts of the copy
    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("fcnet")
    assert package.__file__ == str(copy / "__init__.py")
    yield package
    for name in loaded():
        del sys.modules[name]


@pytest.mark.untyped  # so that the tests notice, not the type checker
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}, {mutant.mistake}")
def test_a_wrong_version_is_noticed(mutant: Mutant, wrong_package: ModuleType) -> None:
    with pytest.raises((AssertionError, TypeError, ValueError)):
        run(mutant.test, mutant.parameters, wrong_package)


@pytest.mark.slow  # the tests themselves say so, too
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}, {mutant.mistake}")
def test_the_right_version_is_not(mutant: Mutant) -> None:
    run_on_the_right_package(mutant.test, *mutant.parameters)


def test_every_test_of_the_core_notices_something() -> None:
    tests = {
        value
        for module in (
            test_activations,
            test_backpropagation,
            test_invariants,
            test_losses,
            test_network,
        )
        for name, value in vars(module).items()
        if name.startswith("test_") and "fc" in inspect.signature(value).parameters
    }
    assert tests <= {mutant.test for mutant in MUTANTS}
    assert len({(mutant.file, mutant.right, mutant.wrong) for mutant in MUTANTS}) >= 50


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in MUTANTS}))
def test_a_reformatted_source_takes_every_mutant(file: str) -> None:
    reformatted = ast.unparse(tree_of(file))  # other line breaks, quotes, parentheses
    assert reformatted != (PACKAGE / file).read_text(encoding="utf-8")
    tree = ast.parse(reformatted)
    for mutant in MUTANTS:
        if mutant.file == file:
            assert mutated(tree, mutant) == mutated(tree_of(file), mutant)


def mutant(right: str, wrong: str) -> Mutant:
    """A mutant whose test does not matter."""
    (row,) = mutants("descent.py", ("uphill", right, wrong, test_every_layout_of_a_piece_is_found))
    return row


@pytest.mark.parametrize(
    "source",
    [
        "def f(p, g):\n    return step(p - 0.1 * g, 'now')",
        'def f(p, g):\n    return (step((p) - (0.1 * g), "now"))',
        'def f(p, g):\n    return step(\n        p  # old\n        - 0.1 * g,\n        "now")',
    ],
    ids=["one line", "parentheses", "many lines"],
)
def test_every_layout_of_a_piece_is_found(source: str) -> None:
    tree = ast.parse(source)
    expression = mutated(tree, mutant("p - 0.1 * g", "p + 0.1 * g"))
    assert expression == "def f(p, g):\n    return step(p + 0.1 * g, 'now')"
    statement = mutated(tree, mutant('return step(p - 0.1 * g, "now")', "return p"))
    assert statement == "def f(p, g):\n    return p"
    assert ast.unparse(tree) == "def f(p, g):\n    return step(p - 0.1 * g, 'now')"


@pytest.mark.parametrize(
    ("source", "right", "wrong", "message"),
    [
        ("f(x) + 1", "f(y)", "x", r"expected `f\(y\)` once, found it 0 times"),
        ("f(x) + f( x )", "f(x)", "x", r"expected `f\(x\)` once, found it 2 times"),
        ("y = f(x)", "y = f(x)", "x", "one piece is an expression and the other a statement"),
    ],
    ids=["missing", "twice", "two sorts"],
)
def test_a_piece_that_is_not_there_just_once_is_refused_by_name(
    source: str, right: str, wrong: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"descent.py, uphill: {message}"):
        mutated(ast.parse(source), mutant(right, wrong))
