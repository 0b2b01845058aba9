"""The error for an optional library that is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from fcnet.signals import noted_signals


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Surround the import of optional libraries, so that the error names the extra to install.

    A Ctrl-C acts after the import, as in `fcnet.lazy.load`.

    Raises:
        ModuleNotFoundError: with what to install; its `name` is that of the missing module.

    >>> with extra("plot"):
    ...     import no_such_library
    Traceback (most recent call last):
    ModuleNotFoundError: no_such_library is not installed; run: pip install 'fcnet[plot]'
    """
    try:
        with noted_signals():
            yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; run: pip install 'fcnet[{name}]'", name=error.name
        ) from error
