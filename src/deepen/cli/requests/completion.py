"""`deepen completion SHELL`: a script that completes commands, options and their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from deepen.cli.requests.command import Argument, Command, Example
from deepen.cli.requests.parser import parse_arguments

SHELLS = ("bash", "zsh", "fish")

COMMAND = Command(
    name="completion",
    about="Print a script that completes deepen's commands, options, and the values they take. A shell loads it "
    "when it starts.",
    argument=Argument(metavar="SHELL", help=", ".join(SHELLS), names=SHELLS),
    examples=(
        Example(line="source <(deepen completion bash)", purpose="bash: in ~/.bashrc"),
        Example(line='eval "$(deepen completion zsh)"', purpose="zsh: in ~/.zshrc, after compinit"),
        Example(line="deepen completion fish | source", purpose="fish: in ~/.config/fish/config.fish"),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionRequest:
    """The shell that the script is for."""

    command: ClassVar[Command] = COMMAND
    shell_name: str


def parse(argv: Sequence[str]) -> CompletionRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    arguments.check()
    return CompletionRequest(shell_name=arguments.argument)
