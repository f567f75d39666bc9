"""`deepen doctor`: what this machine offers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from deepen.cli.requests.command import Command, Example, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION

COMMAND = Command(
    name="doctor",
    about="Show what this machine offers, and what is missing for which command. The exit code is 1 where "
    "something is missing that every command needs.",
    groups=(OptionGroup(title="Output", options=(replace(JSON_OPTION, help="print the findings as JSON"),)),),
    examples=(
        Example(line="deepen doctor", purpose="a table to read"),
        Example(line="deepen doctor --json", purpose="the same for a script"),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorRequest:
    """How the findings are printed."""

    command: ClassVar[Command] = COMMAND
    as_json: bool


def parse(argv: Sequence[str]) -> DoctorRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    arguments.check()
    return DoctorRequest(as_json="json" in arguments)
