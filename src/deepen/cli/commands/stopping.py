"""Stop a command that writes a new folder so that nothing of it is left behind."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deepen.cli.output.failures import INTERRUPTED
from deepen.study.run.errors import Interrupted
from deepen.study.run.signals import watch_signals


@contextmanager
def stop_at_signals() -> Iterator[Callable[[], None]]:
    """Yield a function that raises an Interrupted once a signal has asked to stop; call it between two writes.

    A second Ctrl-C ends the process at once; what it leaves then is removed by the next call with the same folder.
    """
    asked = threading.Event()

    def receive(number: int) -> None:
        if asked.is_set() and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        asked.set()

    def check() -> None:
        if asked.is_set():
            raise Interrupted

    with watch_signals(receive):
        yield check
