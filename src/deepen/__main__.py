"""The command as a process: `deepen`, and `python -m deepen` for launchers such as torchrun."""

import os
import signal
import sys

from deepen.cli.entry import leave, main
from deepen.cli.output.failures import WRONG_REQUEST, print_errors
from deepen.cli.requests.parser import RequestError


def start() -> int:
    """Run the command of this process, together with the others where torchrun started several."""
    if sys.stdout is None:  # somebody closed it
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    if "WORLD_SIZE" not in os.environ:
        return main()
    from deepen.cli.distributed import run_distributed  # imports torch

    try:
        return run_distributed(sys.argv[1:])
    except RequestError as error:
        is_first = os.environ.get("RANK", "0") == "0"
        return print_errors(WRONG_REQUEST, *(error.problems if is_first else ()))


if __name__ == "__main__":
    sys.exit(start())
