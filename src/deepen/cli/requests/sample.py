"""`deepen sample CKPT --prompt TEXT`: text from a checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from deepen.cli.requests.checkpoint_options import (
    CHECKPOINT_ARGUMENT,
    WHICH_RUN,
    parse_checkpoint,
)
from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import TEXT, ValueType, number, read_number, whole_number
from deepen.interop.checkpoint import Checkpoint


def _read_temperature(text: str) -> float:
    value = read_number(text)
    if not 0 <= value <= 100:
        raise ValueError(f"is {text}: it must be 0 to 100")
    return value


COMMAND = Command(
    name="sample",
    about="Print text from a checkpoint, on the CPU.",
    argument=CHECKPOINT_ARGUMENT,
    groups=(
        OptionGroup(
            title="Text",
            options=(
                Option(
                    name="prompt",
                    takes=TEXT,
                    help="text to continue; can be given more than once",
                    default_help="the start of a document",
                    repeats=True,
                    default=(),
                ),
                Option(
                    name="tokens",
                    takes=whole_number("TOKENS", minimum=1, maximum=10**6),
                    help="length of the text, unless it ends earlier",
                    default=64,
                ),
                Option(
                    name="samples",
                    takes=whole_number(minimum=1, maximum=1000),
                    help="number of texts for each prompt",
                    default=1,
                ),
            ),
        ),
        OptionGroup(
            title="Choice of the next token",
            options=(
                Option(
                    name="temperature",
                    takes=ValueType(metavar="TEMPERATURE", read=_read_temperature, number=float),
                    help="what logits are divided by: below 1 favours probable tokens, 0 takes the best",
                    default=0.8,
                ),
                Option(
                    name="top-k",
                    takes=whole_number(minimum=0, maximum=10**9),
                    help="number of most probable tokens to choose from",
                    default=0,
                    default_help="all",
                ),
                Option(
                    name="top-p",
                    takes=number(maximum=1.0),
                    help="share of the probability that the most probable tokens to choose from have together",
                    default=1.0,
                ),
                Option(
                    name="sampling-seed", takes=whole_number("SEED"), help="seed of the random choices", default=0
                ),
            ),
        ),
        WHICH_RUN,
        OptionGroup(title="Output", options=(JSON_OPTION,)),
    ),
    examples=(
        Example(line="deepen train full --steps 200", purpose="a run to sample from"),
        Example(
            line="deepen sample deepen-runs/full-nano-seed-0 --prompt 'My fellow citizens'",
            purpose="how it continues a text",
        ),
        Example(
            line="deepen sample deepen-runs/quickstart --arm small --seed 0 --temperature 0",
            purpose="the most probable text of one run of a study",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRequest:
    """What text to generate; `prompts` is empty for the start of a document."""

    command: ClassVar[Command] = COMMAND
    checkpoint: Checkpoint
    prompts: tuple[str, ...]
    tokens: int
    samples: int
    temperature: float
    top_k: int
    top_p: float
    sampling_seed: int
    as_json: bool


def parse(argv: Sequence[str]) -> SampleRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    checkpoint = parse_checkpoint(arguments)
    arguments.check()
    assert checkpoint is not None
    return SampleRequest(
        checkpoint=checkpoint,
        prompts=arguments["prompt"],
        tokens=arguments["tokens"],
        samples=arguments["samples"],
        temperature=arguments["temperature"],
        top_k=arguments["top_k"],
        top_p=arguments["top_p"],
        sampling_seed=arguments["sampling_seed"],
        as_json="json" in arguments,
    )
