"""What is said when an optional library is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Surrounds the import of optional libraries: if one is missing, the error names the extra.

    Raises:
        ModuleNotFoundError: with what to install; its `name` is still the missing module's.

    >>> with extra("plot"):
    ...     import no_such_library
    Traceback (most recent call last):
    ModuleNotFoundError: no_such_library is not installed; run: pip install 'fcnet[plot]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; run: pip install 'fcnet[{name}]'", name=error.name
        ) from error
