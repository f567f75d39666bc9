"""The command as a process: `deepen`, and `python -m deepen` for launchers such as torchrun."""

import os
import signal
import sys
from functools import partial


def start() -> int:
    """Run the command of this process, together with the others where a launcher started several."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback
    from deepen.cli.entry import leave, main
    from deepen.cli.output.failures import WRONG_REQUEST, print_errors
    from deepen.cli.output.streams import prepare_streams
    from deepen.cli.requests.parser import RequestError
    from deepen.study.run.signals import watch_signals

    if is_usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    prepare_streams()
    with watch_signals(partial(leave, "".join(sys.argv[1:2]))):
        if os.environ.get("WORLD_SIZE", "1") in ("", "0", "1"):
            return main()
        from deepen.cli.distributed import run_distributed  # imports torch

        try:
            return run_distributed(sys.argv[1:])
        except RequestError as error:
            rank = os.environ.get("RANK", "")
            is_follower = rank.isdecimal() and int(rank) > 0
            return print_errors(WRONG_REQUEST, *(() if is_follower else error.problems))


if __name__ == "__main__":
    sys.exit(start())
