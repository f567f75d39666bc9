"""`deepen data info DIR`: what is in a folder of token shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.data_options import SHARDS_ARGUMENT, SHARDS_GROUP
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import whole_number

COMMAND = Command(
    name="data info",
    about="Describe a folder of token shards: counts, tokens per document, a decoded sample, and the epochs of a "
    "budget. Takes seconds, as it reads only a part of large shards.",
    argument=SHARDS_ARGUMENT,
    groups=(
        SHARDS_GROUP,
        OptionGroup(
            title="Output",
            options=(
                Option(
                    name="tokens",
                    takes=whole_number("TOKENS", minimum=1),
                    help="budget whose epochs are printed",
                    default_help="none",
                ),
                JSON_OPTION,
            ),
        ),
    ),
    examples=(
        Example(
            line="deepen data info fineweb-edu --tokens 5.24B",
            purpose="what is in the shards, and how often the paper's budget reads them",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InfoRequest:
    """Which folder is to be described, what its shards lack, and the budget; 0 for none."""

    command: ClassVar[Command] = COMMAND
    folder: Path
    tokenizer: str
    data_dtype: str | None
    tokens: int
    as_json: bool


def parse(argv: Sequence[str]) -> InfoRequest:
    """Parse the words after `deepen data info`."""
    arguments = parse_arguments(COMMAND, argv)
    arguments.check()
    return InfoRequest(
        folder=Path(arguments.argument),
        tokenizer=arguments.get("tokenizer", ""),
        data_dtype=arguments.get("data_dtype", None),
        tokens=arguments.get("tokens", 0),
        as_json="json" in arguments,
    )
