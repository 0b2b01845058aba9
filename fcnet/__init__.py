"""Fully-connected networks after the CS229 deep-learning notes, as pure JAX functions.

`import fcnet` loads no JAX: each public name is imported at its first use. `__init__.pyi` says the
same to type checkers and editors.
"""

from fcnet.lazy import load

_NAMES = {
    "activations": ["ACTIVATIONS"],
    "backpropagation": ["backprop", "batch_backprop", "deltas", "gradients"],
    "descent": ["gradient_descent", "minibatch_sgd", "sgd"],
    "losses": ["LOSSES", "example_loss", "mean_loss"],
    "network": [
        "batch_forward",
        "count_neurons",
        "count_params",
        "features",
        "forward",
        "forward_trace",
        "init",
    ],
    "sampling": ["sample_batch"],
    "train.checkpoint": ["CheckpointError", "Checkpoints"],
    "train.ensemble": ["Ensemble", "ensemble"],
    "train.fit": ["fit"],
    "train.per_example": ["per_example_gradients"],
    "train.sweep": ["SweepResult", "sweep"],
    "train.types": ["FitResult", "History", "Interrupted", "NonFiniteError"],
    "types": ["Activation", "Labels", "Layer", "Loss", "Params", "Trace"],
    "verify.check": ["check"],
    "verify.gradient": ["check_gradient"],
    "verify.report": ["GradientError", "Report"],
    "verify.types": ["Finding"],
    "verify.vjp": ["check_vjp"],
}
"""The public names by the module that defines them."""

_ROOMS = ["data", "estimators", "interchange", "metrics", "notes", "plot"]
"""The public modules."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted([*_HOMES, *_ROOMS])


def __getattr__(name: str) -> object:
    """The public name `name`, imported at its first use."""
    if name in _ROOMS:
        return load(f"fcnet.{name}")
    if name in _HOMES:
        value = load(f"fcnet.{_HOMES[name]}", name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("fcnet")
    else:
        raise AttributeError(f"module 'fcnet' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, and no others."""
    return __all__
