"""Scikit-learn estimators over `fcnet.fit`. They need the extra `sklearn`, at their first use."""

from typing import TYPE_CHECKING

from fcnet.lazy import load

if TYPE_CHECKING:
    from fcnet.estimators.classifier import FCNetClassifier as FCNetClassifier
    from fcnet.estimators.regressor import FCNetRegressor as FCNetRegressor

_HOMES = {"FCNetClassifier": "classifier", "FCNetRegressor": "regressor"}
"""The estimators by the module that defines them."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """The estimator `name`, imported at its first use.

    Raises:
        ModuleNotFoundError: without scikit-learn.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'fcnet.estimators' has no attribute {name!r}")
    value = load(f"fcnet.estimators.{_HOMES[name]}", name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, and no others."""
    return __all__
