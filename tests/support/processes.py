"""Commands in processes of their own."""

import subprocess
import time
from collections.abc import Callable

POLL_SECONDS = 0.01


def wait_until(
    happened: Callable[[], bool], process: "subprocess.Popen[str]", timeout_seconds: float = 300
) -> None:
    """Wait until something has happened, or the process that is to do it has ended."""
    ends = time.monotonic() + timeout_seconds
    while process.poll() is None and not happened():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(POLL_SECONDS)
