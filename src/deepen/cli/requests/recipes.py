"""`deepen recipes`: what there is to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from deepen.cli.requests.command import Command, Example, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION

COMMAND = Command(
    name="recipes",
    about="List recipes with their options and sources, growth operators, placements, moment policies, partitions "
    "and learning rates.",
    groups=(OptionGroup(title="Output", options=(replace(JSON_OPTION, help="print the list as JSON"),)),),
    examples=(
        Example(line="deepen recipes", purpose="a table to read"),
        Example(line="deepen recipes --json", purpose="the same for a script"),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipesRequest:
    """How the list is printed."""

    command: ClassVar[Command] = COMMAND
    as_json: bool


def parse(argv: Sequence[str]) -> RecipesRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    arguments.check()
    return RecipesRequest(as_json="json" in arguments)
