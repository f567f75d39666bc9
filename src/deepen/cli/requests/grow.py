"""`deepen grow CKPT -o DIR`: a deeper checkpoint, of deepen's or in Hugging Face's format."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen import durable
from deepen.cli.requests.checkpoint_options import (
    CHECKPOINT_ARGUMENT,
    SHARD_SIZE_OPTION,
    WHICH_RUN,
    parse_checkpoint,
)
from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import Arguments, parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import FILE, FOLDER, ValueType, number, one_of, whole_number
from deepen.growth.layout import MAX_LAYOUT, PLACEMENTS, parse_layout
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.growth.spec import Growth
from deepen.interop.checkpoint import Checkpoint, HuggingFaceCheckpoint


def _read_layout(text: str) -> tuple[int, ...]:
    try:
        return parse_layout(text)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("layout ")) from None


_GROWTH = OptionGroup(
    title="Growth",
    options=(
        Option(
            name="depth",
            takes=whole_number(minimum=1, maximum=MAX_LAYOUT),
            help="number of blocks after growth",
            default_help="none: give this or --layout",
        ),
        Option(
            name="operator",
            takes=one_of(OPERATORS),
            help="; ".join(f"{name}: {operator.summary}" for name, operator in OPERATORS.items()),
            default="interleave",
        ),
        Option(
            name="placement",
            takes=one_of(PLACEMENTS),
            help="; ".join(f"{name}: {placement.summary}" for name, placement in PLACEMENTS.items()),
            default_help="the operator's own",
        ),
        Option(
            name="layout",
            takes=ValueType(metavar="RANGES", read=_read_layout),
            help="instead of --depth: the blocks to take, from bottom to top, as ranges with both ends included, "
            "such as 0-23,8-31; a repeated block is a copy, whose output projections are zero with --operator "
            "copy-zero",
            default_help="none",
        ),
        Option(
            name="residual-scale",
            takes=number(minimum=0),
            help="factor of the output of copied blocks, a number of 0 or more",
            default="1",
        ),
        Option(
            name="noise",
            takes=number(minimum=0),
            help="normal noise added to the matrices of copied blocks, as a share of the root mean square of each",
            default="0",
        ),
        Option(
            name="moments",
            takes=one_of(MOMENT_POLICIES),
            help="optimizer state of a checkpoint of deepen's: "
            + "; ".join(f"{name}: {policy.summary}" for name, policy in MOMENT_POLICIES.items()),
            default="copy",
        ),
    ),
)
_RESULT = OptionGroup(
    title="Result",
    options=(
        Option(
            name="out", short="-o", takes=FOLDER, help="new folder for the result", default_help="none: name one"
        ),
        SHARD_SIZE_OPTION,
        Option(
            name="verify",
            help="load the model before and after growth, where it fits into memory, and compare loss and logits",
        ),
        Option(
            name="text",
            takes=FILE,
            help="file of text for --verify, of which the first 512 tokens are read",
            default_help="a part of the embedded corpus",
        ),
        JSON_OPTION,
    ),
)

COMMAND = Command(
    name="grow",
    about="Make a checkpoint deeper: one of deepen's, optimizer state included, or a folder in Hugging Face's "
    "format of any decoder, which is copied tensor by tensor in little memory.",
    argument=CHECKPOINT_ARGUMENT,
    groups=(_GROWTH, _RESULT, WHICH_RUN),
    examples=(
        Example(
            line="deepen grow Llama-3.2-1B --depth 24 --operator copy-zero -o Llama-deeper --verify",
            purpose="8 blocks more that change nothing yet (LLaMA-Pro)",
        ),
        Example(
            line="deepen grow Mistral-7B-v0.1 --layout 0-23,8-31 -o Mistral-10.7B",
            purpose="blocks 0 to 23, then 8 to 31 again (SOLAR)",
        ),
        Example(
            line="deepen grow deepen-runs/quickstart --arm small --seed 0 --depth 4 -o deeper",
            purpose="a run of one's own, with its optimizer state",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowRequest:
    """What is to grow, and how.

    Attributes:
        checkpoint: what grows.
        growth: operator, placement and moment policy.
        depth: blocks after growth; None with a layout.
        out: the new folder.
        shard_bytes: the size of a file of tensors.
        verifies: whether the model before and after growth is compared.
        text: the file with the text for that; None for the embedded corpus.
    """

    command: ClassVar[Command] = COMMAND
    checkpoint: Checkpoint
    growth: Growth
    depth: int | None
    out: Path
    shard_bytes: int
    verifies: bool
    text: Path | None
    as_json: bool


def parse(argv: Sequence[str]) -> GrowRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    checkpoint = parse_checkpoint(arguments)
    growth = _parse_growth(arguments)
    if "moments" in arguments and isinstance(checkpoint, HuggingFaceCheckpoint):
        arguments.add("--moments: a checkpoint in Hugging Face's format has no optimizer state; leave it out")
    out: Path | None = arguments["out"]
    if out is not None:
        arguments.attempt(lambda: durable.check_new_folder(out, "out"))
    elif "out" not in arguments.refused:
        arguments.add("--out is missing: name a new folder")
    if "text" in arguments and "verify" not in arguments:
        arguments.add("--text is given without --verify: add --verify")
    arguments.check()
    assert checkpoint is not None and growth is not None and out is not None
    return GrowRequest(
        checkpoint=checkpoint,
        growth=growth,
        depth=arguments["depth"],
        out=out,
        shard_bytes=int(arguments["shard_size"] * 10**9),
        verifies="verify" in arguments,
        text=arguments["text"],
        as_json="json" in arguments,
    )


def _parse_growth(arguments: Arguments) -> Growth | None:
    """How the checkpoint grows; None after adding a problem."""
    if "layout" in arguments:
        if "depth" in arguments:
            arguments.add("--layout has the depth already: leave out --depth")
    elif "depth" not in arguments and not {"depth", "layout"} & arguments.refused:
        arguments.add("--depth is missing: give the number of blocks after growth, or --layout")
    given = arguments.given(("operator", "placement", "layout", "residual_scale", "noise"))
    if "layout" not in given:
        given.setdefault("operator", arguments["operator"])
    return arguments.attempt(lambda: Growth(moments=arguments["moments"], **given))
