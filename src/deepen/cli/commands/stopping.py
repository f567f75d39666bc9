"""Stop a command at a signal so that nothing of what it was writing is left behind."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deepen.study.run.errors import Interrupted
from deepen.study.run.signals import ending_at_second, watch_signals


@contextmanager
def stop_at_signals() -> Iterator[Callable[[], None]]:
    """Yield a function that raises an Interrupted once a signal has asked to stop; call it between two writes.

    A second Ctrl-C ends the process at once; what it leaves then is removed by the next call with the same folder.
    """
    asked = threading.Event()

    def check() -> None:
        if asked.is_set():
            raise Interrupted

    with watch_signals(ending_at_second(asked.set)):
        yield check


@contextmanager
def interrupt_at_signals() -> Iterator[None]:
    """Raise an Interrupted in the main thread at the first signal, wherever it is, as in a library's code.

    A second Ctrl-C ends the process at once.
    """
    is_asked = False

    def interrupt(number: int) -> None:
        nonlocal is_asked
        if not is_asked:  # another signal must not interrupt the removal of temporary files
            is_asked = True
            raise Interrupted

    with watch_signals(ending_at_second(lambda: None), interrupt):
        yield
