"""`deepen completion SHELL`: print the script."""

from deepen.cli.output.completion_scripts import render_bash, render_fish, render_zsh
from deepen.cli.requests.catalog import COMMANDS, load_tables
from deepen.cli.requests.completion import CompletionRequest


def run(request: CompletionRequest) -> int:
    """Print the script for a shell."""
    render = {"bash": render_bash, "zsh": render_zsh, "fish": render_fish}[request.shell_name]
    print(render(COMMANDS, tuple(load_tables())))
    return 0
