"""What other processes do, waited for: never without end, so that what does not happen is a failure."""

import subprocess
import time
from collections.abc import Callable, Iterator

POLL_SECONDS, PATIENCE_SECONDS = 0.01, 300.0


def looks() -> Iterator[None]:
    """A moment to look, again and again; after long enough an AssertionError."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        yield
        time.sleep(POLL_SECONDS)
    raise AssertionError("it did not happen")


def wait_until(happened: Callable[[], bool], process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Wait until something has happened, or the process that is to do it has ended."""
    for _ in looks():
        if process.poll() is not None or happened():
            return
