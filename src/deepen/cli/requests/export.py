"""`deepen export CKPT -o DIR`: a checkpoint in the format of other people's tools."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.checkpoint_options import (
    CHECKPOINT_ARGUMENT,
    SHARD_SIZE_OPTION,
    WHICH_RUN,
    parse_checkpoint,
)
from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.value_types import FOLDER, one_of
from deepen.durable import check_new_folder
from deepen.interop.checkpoint import Checkpoint
from deepen.train.settings import PRECISIONS

FORMATS = ("hf",)

COMMAND = Command(
    name="export",
    about="Write a checkpoint as a folder that Hugging Face's transformers loads: weights, config, generation "
    "config, tokenizer, and a model card.",
    argument=CHECKPOINT_ARGUMENT,
    groups=(
        OptionGroup(
            title="Result",
            options=(
                Option(name="out", short="-o", takes=FOLDER, help="new folder", default_help="none: name one"),
                Option(name="to", takes=one_of(FORMATS), help="format: hf, Hugging Face's", default="hf"),
                Option(name="dtype", takes=one_of(PRECISIONS), help="type of the weights", default="fp32"),
                SHARD_SIZE_OPTION,
            ),
        ),
        WHICH_RUN,
    ),
    examples=(
        Example(line="deepen train full --steps 200", purpose="a run to export"),
        Example(
            line="deepen export deepen-runs/full-nano-seed-0 -o exported", purpose="its model for transformers"
        ),
        Example(
            line="deepen export deepen-runs/quickstart --arm one-shot --seed 1 --to hf -o exported",
            purpose="that of one run of a study",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """The checkpoint to export, the new folder, the type of its weights, and the largest file of them."""

    command: ClassVar[Command] = COMMAND
    checkpoint: Checkpoint
    out: Path
    dtype: str
    shard_bytes: int


def parse(argv: Sequence[str]) -> ExportRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    checkpoint = parse_checkpoint(arguments)
    if "out" in arguments:
        arguments.attempt(lambda: check_new_folder(arguments["out"], "out"))
    elif "out" not in arguments.refused:
        arguments.add("--out is missing: name a new folder")
    arguments.check()
    assert checkpoint is not None
    return ExportRequest(
        checkpoint=checkpoint,
        out=arguments["out"],
        dtype=arguments["dtype"],
        shard_bytes=int(arguments["shard_size"] * 10**9),
    )
