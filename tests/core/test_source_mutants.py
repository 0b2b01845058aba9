"""The tests tested: wrong versions of the core, each of which a named test must notice.

A mutant is the package's own source with one piece replaced. The test that must fail on it is an
ordinary one of this suite, run on the wrong package in the place of the right one.
"""

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
from support.source_mutants_forward import Mutant

import fcnet

PACKAGE = Path(fcnet.__file__).parent
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
    source = (copy / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.right) == 1, f"{mutant.file} holds it {source.count(mutant.right)}x"
    (copy / mutant.file).write_text(source.replace(mutant.right, mutant.wrong), encoding="utf-8")
    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("fcnet")
    assert package.__file__ == str(copy / "__init__.py")
    yield package
    for name in loaded():
        del sys.modules[name]


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
