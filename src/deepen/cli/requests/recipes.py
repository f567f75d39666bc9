"""`deepen recipes`: what there is to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import FOLDER, is_writable_folder

COMMAND = Command(
    name="recipes",
    about="List recipes with their layers over time, what they promise, their sources and options; and growth "
    "operators, placements, moment policies, partitions and learning rates.",
    groups=(
        OptionGroup(
            title="Output",
            options=(
                replace(JSON_OPTION, help="print the list as JSON"),
                Option(
                    name="figures",
                    takes=FOLDER,
                    help="draw the layers of each recipe over its tokens into a folder",
                    default_help="no figures",
                ),
            ),
        ),
    ),
    examples=(
        Example(line="deepen recipes", purpose="a table to read"),
        Example(line="deepen recipes --json", purpose="the same for a script"),
        Example(line="deepen recipes --figures figures", purpose="and a figure for each recipe"),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipesRequest:
    """How the list is printed, and the folder for figures, if they are drawn."""

    command: ClassVar[Command] = COMMAND
    as_json: bool
    figures: Path | None = None


def parse(argv: Sequence[str]) -> RecipesRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    figures = arguments.get("figures", None)
    if figures is not None and not is_writable_folder(figures):
        arguments.add(f"--figures {figures} cannot be written to: name a folder, or where one can be made")
    arguments.check()
    return RecipesRequest(as_json="json" in arguments, figures=figures)
