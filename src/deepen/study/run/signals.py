"""Signals that ask a command to stop: noticed at once, in a thread, whatever the main thread is doing.

Python runs a signal's handler between two operations of the main thread. One operation, such as the backward pass
of a large model, may take minutes. So a thread receives the signals as well (`signal.set_wakeup_fd`): it reports
at once that the first one was noticed, and ends the process at the second Ctrl-C.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C; a kill, or a machine that is taken away; a terminal that closes; SLURM's warning before a time limit."""


OnSignal = Callable[[int], object]
"""Called with a signal's number."""


class _Handler:
    """A handler of this module, so that it can be told from those of others."""

    def __init__(self, handle: OnSignal) -> None:
        self._handle = handle

    def __call__(self, number: int, frame: object) -> None:
        self._handle(number)


@contextmanager
def watch_signals(receive: OnSignal, handle: OnSignal = lambda number: None) -> Iterator[None]:
    """Call functions at each of the STOP_SIGNALS, inside a `with` block.

    A SIGHUP or SIGUSR1 that is ignored, as `nohup` does, or handled by another library, as submitit does, is left
    alone. Python handles signals in its main thread only, so this does nothing in another thread.

    Args:
        receive: called at once, in another thread.
        handle: called in the main thread, after its current operation.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in STOP_SIGNALS if _is_free(number)]
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def watch() -> None:
        while received := os.read(read_end, 1):
            if received[0] in numbers:
                receive(received[0])

    thread = threading.Thread(target=watch, name="signals", daemon=True)
    thread.start()
    wakeup_before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    handlers_before = {number: signal.signal(number, _Handler(handle)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers_before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        os.close(write_end)  # ends the thread
        thread.join()
        os.close(read_end)


def _is_free(number: signal.Signals) -> bool:
    handler = signal.getsignal(number)
    if number in (signal.SIGINT, signal.SIGTERM):
        return handler is not None  # None is a handler that Python does not know, and could not restore
    return handler is signal.SIG_DFL or isinstance(handler, _Handler)


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[Callable[[], None]]:
    """Set `stop` at the first of the STOP_SIGNALS; yields a function that does the same.

    While the run is stopping, Ctrl-C ends the process; saved states stay valid. Other signals then change nothing:
    a terminal that closes sends SIGHUP twice, and a cluster sends SIGTERM after its warning.

    Args:
        stop: the event.
    """
    is_reported = False

    def request_stop() -> None:
        nonlocal is_reported
        stop.set()
        if not is_reported:
            is_reported = True
            _log.info("stopping: this step is finished and saved first; Ctrl-C again ends now")

    with watch_signals(ending_at_second(request_stop), ending_at_second(stop.set)):
        yield request_stop


def ending_at_second(stop: Callable[[], None]) -> OnSignal:
    """Calls `stop` at a signal, and ends the process at a SIGINT after it."""
    is_stopping = False

    def receive(number: int) -> None:
        nonlocal is_stopping
        if is_stopping and number == signal.SIGINT:
            os._exit(128 + number)
        is_stopping = True
        stop()

    return receive


def ignore_signals() -> None:
    """Ignore the STOP_SIGNALS in this process, which another one asks to stop."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the STOP_SIGNALS inside a `with` block; a process that is started there inherits this."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
