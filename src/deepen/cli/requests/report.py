"""`deepen report STUDY`: a study's figures and page again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Argument, Command, Example
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.value_types import Completion

COMMAND = Command(
    name="report",
    about="Draw the figures and the page of a study again, from its results.json.",
    argument=Argument(metavar="STUDY", help="folder of a study that has run", completion=Completion.FOLDERS),
    examples=(
        Example(line="deepen study quickstart", purpose="a study to report on"),
        Example(
            line="deepen report deepen-runs/quickstart", purpose="the report of the quickstart, after it has run"
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRequest:
    """The folder whose report is drawn."""

    command: ClassVar[Command] = COMMAND
    folder: Path


def parse(argv: Sequence[str]) -> ReportRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    folder = Path(arguments.argument)
    if arguments.argument and not (folder / "results.json").is_file():
        arguments.add(f"STUDY {folder} has no results.json: name the folder of a study that has run")
    arguments.check()
    return ReportRequest(folder=folder)
