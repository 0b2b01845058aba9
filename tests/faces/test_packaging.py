"""The package as its users get it: what is in it, alone in an empty environment, and its extras."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
NO_FEATURES = {"all", "dev", "docs"}  # they are for who works on fcnet

MUST = {
    *("fcnet/__init__.py", "fcnet/__init__.pyi", "fcnet/py.typed", "fcnet/cli/__init__.py"),
    "fcnet/verify/report.schema.json",
    *("fcnet/sacramento.csv", "fcnet/sacramento.LICENSE"),
}
SOURCE = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """What a program does in `folder`, without the checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def build(root: Path, dist: Path, *targets: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", dist]
    done = run([*command, *(part for target in targets for part in ("-t", target))], root)
    assert not done.returncode, done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "sdist", "wheel")
    return folder


def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


def in_wheel(dist: Path) -> set[str]:
    """The files of the wheel without those that describe it."""
    with zipfile.ZipFile(wheel(dist)) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def in_sdist(dist: Path) -> set[str]:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def sources() -> set[str]:
    """What a checkout has of the package."""
    inside = (path for path in (ROOT / "fcnet").rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in inside if path.suffix != ".pyc"}


def astray(names: Iterable[str], expected: set[str]) -> set[str]:
    """What is missing and what is too much."""
    return set(names) ^ expected


def test_no_python_file_stands_beside_the_package() -> None:
    assert not list(ROOT.glob("*.py"))


def test_the_wheel_is_the_package(dist: Path) -> None:
    assert astray(in_wheel(dist), sources()) == set()
    assert in_wheel(dist) >= MUST
    with zipfile.ZipFile(wheel(dist)) as archive:
        beside = {name.partition(".dist-info/")[2] for name in archive.namelist()}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert archive.read(licences[0]) == (ROOT / "LICENSE").read_bytes()
    assert beside >= {"METADATA", "RECORD", "entry_points.txt"}


def test_the_sdist_is_the_same_and_what_is_needed_to_build_it(dist: Path, tmp_path: Path) -> None:
    assert astray(in_sdist(dist), sources() | SOURCE) == set()
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    build(unpacked, tmp_path / "dist", "wheel")
    assert wheel(tmp_path / "dist").read_bytes() == wheel(dist).read_bytes()


def test_built_from_another_checkout_they_are_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "fcnet", checkout / "fcnet", ignore=shutil.ignore_patterns("*.pyc"))
    for name in SOURCE - {"PKG-INFO"}:
        shutil.copy(ROOT / name, checkout)
    for path in checkout.rglob("*"):
        path.chmod(0o775 if path.is_dir() else 0o664)
        os.utime(path, (10**9, 10**9))
    build(checkout, tmp_path / "again", "sdist", "wheel")
    built = {path.name: path.read_bytes() for path in dist.iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == built
    with (checkout / "fcnet" / "sampling.py").open("a") as file:
        file.write("\n")
    build(checkout, tmp_path / "changed", "wheel")
    assert wheel(tmp_path / "changed").read_bytes() != wheel(dist).read_bytes()


@pytest.mark.parametrize(
    "name", ["tests/conftest.py", "scripts/notes_index.py", "notebooks/01_one_neuron.ipynb"]
)
def test_what_does_not_belong_there_is_noticed(name: str) -> None:
    assert (ROOT / name).is_file()
    assert astray(sources() | {name}, sources()) == {name}
    assert astray(sources() - {"fcnet/py.typed"}, sources()) == {"fcnet/py.typed"}


@pytest.fixture(scope="module")
def empty(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    constraints = ROOT / "scripts" / "constraints.txt"
    done = run([*pip, "--constraint", constraints, wheel(dist)], folder)
    assert not done.returncode, done.stderr
    return python


def test_what_it_requires_fits_together(empty: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", empty]
    done = run([*pip, "check"], tmp_path)
    assert (done.returncode, done.stdout) == (0, "No broken requirements found.\n")
    installed = next(empty.parents[1].rglob("optax-*.dist-info"))
    hidden = shutil.move(installed, tmp_path)
    done = run([*pip, "check"], tmp_path)
    shutil.move(hidden, installed)
    assert done.returncode == 1
    assert "fcnet 0" in done.stdout
    assert "requires optax, which is not installed" in done.stdout


ALONE = """
import json
from importlib.metadata import packages_distributions
import fcnet
import jax, jax.numpy as jnp, numpy as np
from fcnet.data import sacramento

def right(params, x, y):
    (W1, b1), (W2, b2) = params
    z = W1 @ x + b1
    a = np.maximum(z, 0)
    delta2 = W2 @ a + b2 - y
    delta1 = (W2.T @ delta2) * (z >= 0)
    return [(np.outer(delta1, x), delta1), (np.outer(delta2, a), delta2)]

def wrong(params, x, y):
    (dW1, db1), last = right(params, x, y)
    return [(dW1 * 2, db1), last]

params = fcnet.init(jax.random.key(0), (4, 3, 1))
x, y = jnp.array([0.5, -1.0, 2.0, 1.0]), jnp.array([1.0])
reports = [fcnet.check(f, params, x, y) for f in (right, wrong)]
print(json.dumps({
    "file": fcnet.__file__,
    "installed": sorted({name for names in packages_distributions().values() for name in names}),
    "verdicts": [report.verdict for report in reports],
    "findings": [[f.quantity, f.layer] for f in reports[1].findings],
    "houses": len(sacramento().X),
}))
"""


def test_the_wheel_checks_gradients_in_an_environment_with_nothing_else(
    empty: Path, tmp_path: Path
) -> None:
    done = run([empty, "-c", ALONE], tmp_path)
    assert not done.returncode, done.stderr
    shown = json.loads(done.stdout)
    assert Path(shown["file"]).is_relative_to(empty.parents[1])
    assert {canonicalize_name(name) for name in shown["installed"]} == required_by() | {"fcnet"}
    assert shown["verdicts"] == ["right", "wrong"]
    assert shown["findings"] == [["dW", 1]]
    assert shown["houses"] == 932
    command = empty.with_name("fcnet")
    version = run([command, "--version"], tmp_path)
    assert (version.returncode, version.stdout.split()) == (0, ["fcnet", PROJECT["version"]])
    assert run([command, "dance"], tmp_path).returncode == 2
    notes = run([command, "notes"], tmp_path)
    assert (notes.returncode, notes.stderr) == (0, "")
    assert "fcnet.backpropagation.deltas" in notes.stdout
    assert "tests/" not in notes.stdout  # they are in the repository, not in the package


def required_by(extra: str | None = None) -> set[str]:
    """The distributions that fcnet needs with one extra, or with none, and all that these need."""
    lines = PROJECT["dependencies"] + (EXTRAS[extra] if extra else [])
    wanted, found = [Requirement(line) for line in lines], set()
    while wanted:
        one = wanted.pop()
        if (key := (canonicalize_name(one.name), frozenset(one.extras))) in found:
            continue
        found.add(key)
        try:
            further = [Requirement(line) for line in requires(one.name) or []]
        except PackageNotFoundError:
            continue  # an extra that is not installed here
        asked = one.extras or {""}
        wanted += [
            r
            for r in further
            if not r.marker or any(r.marker.evaluate({"extra": e}) for e in asked)
        ]
    return {name for name, _ in found}


def beyond(distributions: set[str]) -> list[str]:
    """The modules of this environment that others than these distributions bring."""
    return sorted(
        module
        for module, names in packages_distributions().items()
        if not {canonicalize_name(name) for name in names} & (distributions | {"fcnet"})
        and module.isidentifier()
    )


WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {blocked!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
sys.path.insert(0, {root!r})
"""


def try_with(extra: str | None, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a program does as if fcnet, with this extra or none, were all that is installed."""
    start = WITHOUT.format(blocked=beyond(required_by(extra)), root=str(ROOT))
    return run([sys.executable, "-c", start + code], folder)


HOUSES = """
import jax, jax.numpy as jnp, fcnet
from pathlib import Path
params = fcnet.init(jax.random.key(0), (1, 1))
X = jnp.arange(4.0)[:, None]
Path("houses.csv").write_text("size,price\\n" + "\\n".join(f"{i},{2 * i}" for i in range(9)))
"""
COMMAND = """
from fcnet.cli import main
sys.exit(main(["{}", "houses.csv", "--target", "price", "--hidden", "2", "--steps", "4",
               "--evaluate-every", "2", "--batch-size", "4", "--learning-{}", "0.01"]))
"""
FEATURES = {
    "save": ("checkpoint", "from fcnet.interchange import save\nsave('here', params)"),
    "fit": (
        "checkpoint",
        "fcnet.fit(params, X, X, key=jax.random.key(0), batch_size=2, steps=2, optimizer='sgd', "
        "hyperparameters={'learning_rate': 0.1}, checkpoint='here')",
    ),
    "onnx": ("onnx", "from fcnet.interchange import to_onnx\nto_onnx('here', params)"),
    "train": ("cli", COMMAND.format("train", "rate")),
    "sweep": ("cli", COMMAND.format("sweep", "rates")),
    "completion": ("cli", 'from fcnet.cli import main\nsys.exit(main(["completion", "bash"]))'),
    "ames": ("data", "from fcnet.data import ames\nassert len(ames().X) == 2930"),
    "mnist": ("data", "from fcnet.data import mnist_5k\nassert len(mnist_5k().X) == 5000"),
    "table": ("tables", "from fcnet.data import read_table\nread_table(Path('houses.csv'))"),
    "figure": ("plot", "from fcnet import plot\nplot.network(params)"),
    "panels": (
        "plot",
        "from fcnet import plot\nnetwork = fcnet.init(jax.random.key(0), (2, 1))\n"
        "plot.surfaces({'a': network}, jnp.eye(2), jnp.eye(2)[:, :1])",
    ),
    "regressor": (
        "sklearn",
        "from fcnet.estimators import FCNetRegressor\n"
        "FCNetRegressor((2,), max_iter=2).fit(X, X[:, 0])",
    ),
    "classifier": (
        "sklearn",
        "from fcnet.estimators import FCNetClassifier\n"
        "FCNetClassifier((2,), max_iter=2).fit(X, X[:, 0] > 1)",
    ),
}


def test_every_extra_has_its_features_here() -> None:
    assert {extra for extra, _ in FEATURES.values()} == set(EXTRAS) - NO_FEATURES


@pytest.mark.parametrize(("extra", "code"), FEATURES.values(), ids=FEATURES)
def test_a_missing_extra_is_named(extra: str, code: str, tmp_path: Path) -> None:
    done = try_with(None, HOUSES + code, tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"pip install 'fcnet[{extra}]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("extra", "code"), FEATURES.values(), ids=FEATURES)
def test_each_extra_suffices_for_its_features(extra: str, code: str, tmp_path: Path) -> None:
    done = try_with(extra, HOUSES + code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_an_extra_does_not_bring_is_missing_beside_it(tmp_path: Path) -> None:
    code = "import {}"
    assert not try_with("plot", code.format("matplotlib"), tmp_path).returncode
    done = try_with("plot", code.format("sklearn"), tmp_path)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'sklearn'"
