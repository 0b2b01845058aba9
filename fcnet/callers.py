"""Warnings that point at the caller's own line."""

import inspect
import warnings

INNER = ("fcnet", "contextlib")
"""The packages whose lines no warning points at."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside the package that led here."""
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_globals.get("__name__", "").split(".")[0] in INNER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
