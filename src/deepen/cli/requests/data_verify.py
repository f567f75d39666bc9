"""`deepen data verify DIR`: whether every shard of a folder is what it should be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Command, Example, OptionGroup
from deepen.cli.requests.data_options import SHARDS_ARGUMENT, SHARDS_GROUP
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION

COMMAND = Command(
    name="data verify",
    about="Read every byte of a folder of token shards, and compare with dataset.json, the tokenizer and the "
    "headers. The exit code is 1 where anything is wrong.",
    argument=SHARDS_ARGUMENT,
    groups=(
        SHARDS_GROUP,
        OptionGroup(title="Output", options=(replace(JSON_OPTION, help="print the findings as JSON"),)),
    ),
    examples=(
        Example(line="deepen data verify fineweb-edu", purpose="whether downloaded shards are whole"),
        Example(
            line="deepen data verify openwebtext --data-dtype uint16 --tokenizer gpt2",
            purpose="nanoGPT's train.bin and val.bin, which have no header",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyRequest:
    """Which folder is to be verified, and what its shards lack."""

    command: ClassVar[Command] = COMMAND
    folder: Path
    tokenizer: str
    data_dtype: str | None
    as_json: bool


def parse(argv: Sequence[str]) -> VerifyRequest:
    """Parse the words after `deepen data verify`."""
    arguments = parse_arguments(COMMAND, argv)
    arguments.check()
    return VerifyRequest(
        folder=Path(arguments.argument),
        tokenizer=arguments.get("tokenizer", ""),
        data_dtype=arguments.get("data_dtype", None),
        as_json="json" in arguments,
    )
