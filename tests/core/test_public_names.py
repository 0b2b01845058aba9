"""The public door: `dir(fcnet)`, the stub, tab completion, type checkers, and module names."""

import ast
import importlib
import itertools
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support.public_names import PACKAGE, offered, run_program

import fcnet


def stub_of(package: ModuleType) -> dict[str, str]:
    """What the stub of a package must offer."""
    modules = {name: f"fcnet.{home}" for name, home in package._HOMES.items()}
    return modules | dict.fromkeys(package._ROOMS, "fcnet")


def test_the_stub_offers_what_the_package_does() -> None:
    stub = offered("__init__.pyi")
    assert stub == stub_of(fcnet)
    assert sorted(stub) == fcnet.__all__
    assert {"GradientError", "CheckpointError", "Interrupted", "NonFiniteError"} < set(stub)


def test_a_public_name_that_the_stub_lacks_is_noticed() -> None:
    more = SimpleNamespace(_HOMES={**fcnet._HOMES, "as_params": "checks"}, _ROOMS=fcnet._ROOMS)
    moved = SimpleNamespace(_HOMES={**fcnet._HOMES, "fit": "train.sweep"}, _ROOMS=fcnet._ROOMS)
    for package in (more, moved):
        assert offered("__init__.pyi") != stub_of(package)


def test_dir_is_the_public_names_before_and_after_their_use() -> None:
    script = """
import fcnet
before = dir(fcnet)
for name in before:
    getattr(fcnet, name)
import fcnet.train.fit, fcnet.cli
assert dir(fcnet) == before == fcnet.__all__
names = {}
exec("from fcnet import *", names)
assert sorted(names.keys() - {"__builtins__"}) == before
print(*before)
"""
    done = run_program(script)
    assert not done.stderr
    assert done.stdout.split() == sorted(offered("__init__.pyi"))


def test_without_scikit_learn_only_the_use_of_an_estimator_is_an_error() -> None:
    script = """
import inspect, pydoc, sys
sys.modules["sklearn"] = None
import fcnet
assert hasattr(fcnet, "estimators")
names = {}
exec("from fcnet import *", names)
assert names["estimators"] is fcnet.estimators
members = dict(inspect.getmembers(fcnet))
assert members.keys() >= set(fcnet.__all__)
assert "check_gradient" in pydoc.render_doc(fcnet)
assert dir(fcnet.estimators) == ["FCNetClassifier", "FCNetRegressor"]
assert not hasattr(fcnet.estimators, "FCNetTransformer")
for use in (*dir(fcnet.estimators), "*"):
    try:
        exec(f"from fcnet.estimators import {use}")
    except ModuleNotFoundError as error:
        assert error.name.split(".")[0] == "sklearn"
        print(error)
"""
    done = run_program(script)
    assert not done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("run: pip install 'fcnet[sklearn]'") for line in lines)


def test_the_estimators_are_imported_at_their_first_use() -> None:
    script = """
import sys
from fcnet import estimators
assert "sklearn" not in sys.modules
for name in estimators.__all__:
    value = getattr(estimators, name)
    assert value.__name__ == name and vars(estimators)[name] is value
"""
    done = run_program(script)
    assert done.returncode == 0, done.stderr


THREADS = """
import random, sys, threading
import fcnet
sys.setswitchinterval(1e-4)
wrong, begin = [], threading.Barrier(8)
def use(seed):
    names = random.Random(seed).sample(fcnet.__all__, len(fcnet.__all__))
    begin.wait()
    try:
        for name in names:
            getattr(fcnet, name)
        fcnet.estimators.FCNetRegressor, fcnet.estimators.FCNetClassifier
    except BaseException as error:
        wrong.append(repr(error))
threads = [threading.Thread(target=use, args=({seed} + k,), daemon=True) for k in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
    assert not thread.is_alive(), "threads wait for each other"
print(*wrong, sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 48, 8))
def test_threads_may_use_the_package_first_at_once(seed: int) -> None:
    done = run_program(THREADS.format(seed=seed))
    assert not done.stderr
    assert not done.stdout.strip()


def asks_the_package(source: str) -> bool:
    """Whether a file asks for a name of `fcnet` itself while it is imported."""
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "fcnet"
        for node in ast.parse(source).body
    )


def test_no_module_of_a_public_name_asks_the_package_while_it_is_imported() -> None:
    """Such a module could wait for the lock of `fcnet.lazy` for ever."""
    others = {"__main__.py", "cli", "demo"}  # which no public name loads
    files = [f for f in PACKAGE.rglob("*.py") if f.relative_to(PACKAGE).parts[0] not in others]
    assert PACKAGE / "plot" / "fits.py" in files
    assert not [file for file in files if asks_the_package(file.read_text(encoding="utf-8"))]
    assert asks_the_package("import jax\nfrom fcnet import notes")
    assert not asks_the_package("def f():\n    from fcnet import notes")


def test_each_public_name_is_what_its_module_defines() -> None:
    for name, home in fcnet._HOMES.items():
        value = getattr(fcnet, name)
        assert value is getattr(importlib.import_module(f"fcnet.{home}"), name)
        assert getattr(value, "__module__", f"fcnet.{home}") in (f"fcnet.{home}", "builtins")
    with pytest.raises(AttributeError, match="module 'fcnet' has no attribute 'fitt'"):
        _ = fcnet.fitt  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'fitt' from 'fcnet'"):
        exec("from fcnet import fitt")


def test_ipython_completes_public_names_and_loads_no_jax_for_it() -> None:
    script = """
import sys
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

completer = InteractiveShell.instance(history_length=0).Completer
completer.namespace = {"fcnet": __import__("fcnet")}
def complete(text):
    with provisionalcompleter():
        print(*(found.text.strip(".") for found in completer.completions(text, len(text))))

completer.use_jedi = False
complete("fcnet.")
complete("from fcnet import per")
print("jax" in sys.modules)
completer.use_jedi = True
complete("fcnet.Che")
"""
    done = run_program(script)
    assert not done.stderr
    names, imports, loaded, by_jedi = done.stdout.splitlines()
    assert names.split() == fcnet.__all__
    assert imports.split() == ["per_example_gradients"]
    assert loaded == "False"
    assert by_jedi.split() == ["CheckpointError", "Checkpoints"]


MODULES = [found.name for found in pkgutil.walk_packages(fcnet.__path__, "fcnet.")]


def hidden(modules: Iterable[str]) -> set[str]:
    """The modules that `import MODULE as m` does not give."""
    names: dict[str, Any] = {}
    found = set()
    for module in modules:
        exec(f"import {module} as m", names)
        if names["m"] is not sys.modules[module]:
            found.add(module)
    return found


def test_every_module_can_be_imported_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of a module's name in its package would hide it."""
    for name in dir(fcnet):
        getattr(fcnet, name)
    assert not hidden(MODULES)
    monkeypatch.setattr("fcnet.descent", fcnet.sgd)
    assert hidden(MODULES) == {"fcnet.descent"}


CLIENT = """
import jax
import fcnet
from fcnet import CheckpointError, GradientError, Interrupted, Labels, Loss, fit, plot
from fcnet.estimators import FCNetRegressor

params: fcnet.Params = fcnet.init(jax.random.key(0), (4, 3, 1))
X, Y = jax.numpy.ones((5, 4)), jax.numpy.ones((5, 1))
result: fcnet.FitResult = fit(
    params, X, Y, key=jax.random.key(1), batch_size=2, steps=3, optimizer="sgd",
    hyperparameters={"learning_rate": 0.1}, checkpoint=fcnet.Checkpoints("runs"),
)
history: fcnet.History = result.history
loss: Loss = fcnet.LOSSES["squared_error"]
labels: Labels | None = loss.labels
report: fcnet.Report = fcnet.check(fcnet.backprop, params, X[0], Y[0])
finding: fcnet.Finding = report.findings[0]
caught = (CheckpointError, GradientError, Interrupted, fcnet.NonFiniteError)
house = fcnet.notes.house_network
rooms = (fcnet.data, fcnet.estimators, fcnet.interchange, fcnet.metrics)
axes = plot.network(params)
version: str = fcnet.__version__
"""


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What mypy says of a program, with the settings of this project, which are strict."""
    folder = tmp_path_factory.mktemp("client")
    root = PACKAGE.parent
    names = (f"client{number}.py" for number in itertools.count())

    def say(source: str) -> str:
        # A new name each time: mypy's cache takes a file of the same second and size as known.
        client = folder / next(names)
        client.write_text(source, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--config-file", root / "pyproject.toml", client.name],
            cwd=folder,
            env={**os.environ, "MYPYPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    return say


@pytest.mark.slow
def test_type_checkers_see_every_public_name(mypy: Callable[[str], str]) -> None:
    assert mypy(CLIENT).startswith("Success")
    uses = "".join(f"reveal_type(fcnet.{name})\n" for name in fcnet.__all__)
    shown = mypy(f"import fcnet\n{uses}").splitlines()
    revealed = [line for line in shown if "Revealed type is" in line]
    assert len(revealed) == len(fcnet.__all__)
    assert not [line for line in shown if "error:" in line or '"Any"' in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "error"),
    [
        ("fcnet.Report", "fcnet.Rapport", "[name-defined]"),
        ("fcnet.metrics)", "fcnet.metrix)", "[attr-defined]"),
        ("history: fcnet.History", "history: fcnet.Report", "[assignment]"),
        ("steps=3", "stepz=3", "[call-arg]"),
    ],
)
def test_type_checkers_notice_a_wrong_use(
    right: str, wrong: str, error: str, mypy: Callable[[str], str]
) -> None:
    assert error in mypy(CLIENT.replace(right, wrong, 1))
