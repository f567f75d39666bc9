"""Waiting for other processes, with a time limit, so that a test fails instead of hanging."""

import subprocess
import time
from collections.abc import Callable, Iterator

POLL_SECONDS, PATIENCE_SECONDS = 0.01, 300.0


def polls() -> Iterator[None]:
    """Poll until the caller stops; raises an AssertionError after PATIENCE_SECONDS."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        yield
        time.sleep(POLL_SECONDS)
    raise AssertionError("it did not happen")


def wait_until(happened: Callable[[], bool], process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Wait until something has happened, or the process has ended."""
    for _ in polls():
        if process.poll() is not None or happened():
            return
