"""Which public names stand on which page of the reference."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

GROUPS = MappingProxyType(
    {
        "Check a gradient": (
            *("check", "check_gradient", "check_vjp"),
            *("Report", "Finding", "GradientError"),
        ),
        "The network": (
            *("init", "forward", "batch_forward", "forward_trace", "features"),
            *("count_params", "count_neurons"),
            *("Params", "Layer", "Trace", "ACTIVATIONS", "Activation"),
        ),
        "Losses": ("example_loss", "mean_loss", "LOSSES", "Loss", "Labels"),
        "Backpropagation": (
            *("backprop", "batch_backprop", "deltas", "gradients", "per_example_gradients"),
        ),
        "Gradient descent": ("gradient_descent", "sgd", "minibatch_sgd", "sample_batch"),
        "Train": (
            *("fit", "FitResult", "History", "Checkpoints"),
            *("CheckpointError", "Interrupted", "NonFiniteError"),
        ),
        "Many networks": ("sweep", "SweepResult", "ensemble", "Ensemble"),
    }
)
"""The names of `fcnet` by the title of their page."""

MODULES = ("data", "estimators", "interchange", "metrics", "notes", "plot")
"""The public modules, with a page each."""


def module_names(module: str) -> Iterator[str]:
    """The names that a public module imports as themselves, and its functions and classes."""
    file = import_module(f"fcnet.{module}").__file__
    assert file is not None
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = (alias.name for alias in node.names if alias.name == alias.asname)
            yield from (f"fcnet.{module}.{name}" for name in names)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"fcnet.{module}.{node.name}"
