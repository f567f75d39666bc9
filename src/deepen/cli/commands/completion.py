"""`deepen completion SHELL`: print the script."""

import shtab

from deepen.cli.requests.argument_parser import build_parser
from deepen.cli.requests.catalog import load_tables
from deepen.cli.requests.completion import CompletionRequest


def run(request: CompletionRequest) -> int:
    """Print the script for a shell."""
    print(shtab.complete(build_parser(load_tables()), request.shell_name))
    return 0
