"""Signals during training: after the first, the step is finished and saved; the second ends the process."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at the first SIGINT or SIGTERM. A second one ends the process; saved states stay valid.

    Python handles signals in its main thread only, so this does nothing in another thread.

    Args:
        stop: the event; it may also be set elsewhere, for example when another process received the signal.
    """
    received = False

    def handle(number: int, frame: object) -> None:
        nonlocal received
        if received:  # not `stop.is_set()`, which may be set elsewhere
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
