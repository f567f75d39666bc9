"""Signals while segments are trained: the first finishes the step and saves, the second ends at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at the first SIGINT or SIGTERM. A second one ends the process; what is on disk stays whole.

    Python handles signals in its main thread only, so in another thread nothing changes.

    Args:
        stop: set here, or elsewhere, for example where another process of the run got the signal.
    """
    received = False

    def handle(number: int, frame: object) -> None:
        nonlocal received
        if received:  # `stop` alone may have been set elsewhere
            os._exit(130)
        received = True
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
