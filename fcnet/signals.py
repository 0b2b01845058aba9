"""Ctrl-C that waits: for a block of steps to end, or for what must be put back."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noted_signals() -> Iterator[list[signal.Signals]]:
    """A list to which the first SIGINT or SIGTERM is added, instead of ending the program.

    A second one acts as it did before. So does the first after the block, unless the block raises.
    Ignored signals stay ignored. Outside the main thread, where Python handles no signals, nothing
    changes.

    >>> try:
    ...     with noted_signals() as received:
    ...         signal.raise_signal(signal.SIGINT)
    ... except KeyboardInterrupt:
    ...     print(received[0].name)
    SIGINT
    """
    received: list[signal.Signals] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {n: h for n, h in handlers.items() if h not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():
        before = {}

    def restore() -> None:
        for number in reversed(before):  # SIGINT last, which would leave this loop
            signal.signal(number, before[number])

    def note(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        restore()

    try:
        for number in before:
            signal.signal(number, note)
        yield received
    finally:
        restore()
    if received:
        signal.raise_signal(received[0])


@contextmanager
def putting_back() -> Iterator[ExitStack]:
    """A stack whose callbacks all run after the block, the last one first, wherever a Ctrl-C comes.

    One that comes while they run acts after them.

    >>> try:
    ...     with putting_back() as stack:
    ...         _ = stack.callback(print, "put back")
    ...         _ = stack.callback(signal.raise_signal, signal.SIGINT)
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    put back
    interrupted
    """
    with ExitStack() as stack:  # for a Ctrl-C that comes before it is noted
        try:
            yield stack
        finally:
            with noted_signals():
                stack.close()
