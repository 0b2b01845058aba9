"""SIGINT and SIGTERM as a wish that is granted at the next good moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

WISHES = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noted_signals() -> Iterator[list[signal.Signals]]:
    """A list in which a first SIGINT or SIGTERM is noted, instead of ending the program.

    A second one does what it did before. Signals that are ignored stay so; outside the main thread,
    where Python handles none, nothing changes.

    >>> with noted_signals() as received:
    ...     signal.raise_signal(signal.SIGINT)
    >>> received[0].name
    'SIGINT'
    """
    received: list[signal.Signals] = []
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    def note(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        restore()

    if threading.current_thread() is threading.main_thread():
        for wish in WISHES:
            handler = signal.getsignal(wish)
            if handler not in (signal.SIG_IGN, None):
                before[wish] = handler
                signal.signal(wish, note)
    try:
        yield received
    finally:
        restore()
