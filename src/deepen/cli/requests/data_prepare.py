"""`deepen data prepare SOURCE -o DIR`: text becomes token shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.data_options import TOKENIZER
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import FILE, FOLDER, TEXT, Completion, whole_number
from deepen.data.preparation.settings import SHARD_TOKENS, PreparationSettings
from deepen.errors import InvalidValueError
from deepen.train.limits import usable_cores

_BLANK = "blank"

COMMAND = Command(
    name="data prepare",
    about="Make token shards of text: tokenized on all cores, duplicates dropped, some documents held out for "
    "validation, and documents dropped that share 100 words with a held-out one. Interrupted, the same command "
    "continues.",
    argument=Argument(
        metavar="SOURCE",
        help="Parquet, JSONL or text files, also .gz and .zst: one, or a folder; or hf:NAME[:CONFIG[:SPLIT]], a "
        "dataset of the Hugging Face Hub",
        completion=Completion.FILES,
    ),
    groups=(
        OptionGroup(
            title="Result",
            options=(
                Option(
                    name="out",
                    short="-o",
                    takes=FOLDER,
                    help="folder of the shards, which appears when all are complete",
                    default_help="none: name one",
                ),
                Option(
                    name="shard-tokens",
                    takes=whole_number("TOKENS", minimum=1_000),
                    help="tokens of each shard",
                    default=SHARD_TOKENS,
                    default_help="100M",
                ),
                Option(
                    name="licence",
                    takes=FILE,
                    help="file with the text of the licence, which dataset.json records",
                    default_help="a file LICENSE beside the source, or what the Hub states",
                ),
                JSON_OPTION,
            ),
        ),
        OptionGroup(
            title="Text",
            options=(
                Option(
                    name="text-column",
                    takes=TEXT,
                    help="field or column that holds the text, or the path of a nested one, such as meta.text",
                    default="text",
                ),
                Option(
                    name="split-at",
                    takes=TEXT,
                    help="line between two documents of a text file, such as '<|endoftext|>', or blank for an "
                    "empty line",
                    default_help="none: each text file is one document",
                ),
                Option(name="strict", help="stop at the first damaged record, instead of leaving it out"),
            ),
        ),
        OptionGroup(
            title="Tokens",
            options=(
                Option(
                    name="tokenizer",
                    takes=TOKENIZER,
                    help="gpt2, byte, the path of a tokenizer.json or of its folder, or train:8192, which trains "
                    "one of 8,192 tokens",
                    default="gpt2",
                ),
                Option(
                    name="separator",
                    takes=TEXT,
                    help="token before each document, or none",
                    default_help="the tokenizer's end of text",
                ),
            ),
        ),
        OptionGroup(
            title="Held-out documents",
            options=(
                Option(
                    name="val-tokens",
                    takes=whole_number("TOKENS", minimum=1),
                    help="tokens to hold out at least, in whole documents, drawn by a hash of their text",
                    default_help="1 % of all, at most 10M",
                ),
                Option(
                    name="keep-duplicates", help="train on all copies of a document that is there several times"
                ),
                Option(
                    name="keep-overlap", help="train on documents that share 100 words with a held-out one too"
                ),
            ),
        ),
        OptionGroup(
            title="Speed",
            options=(
                Option(
                    name="workers",
                    takes=whole_number("N", minimum=1, maximum=4096),
                    help="number of processes that tokenize; the result is the same for any",
                    default_help="one per core",
                ),
            ),
        ),
    ),
    examples=(
        Example(
            line="deepen data prepare hf:HuggingFaceFW/fineweb-edu:sample-10BT -o fineweb-edu --val-tokens 10M",
            purpose="FineWeb-edu with GPT-2's tokenizer, as the paper uses it",
        ),
        Example(
            line="deepen data prepare books.jsonl.gz -o books --tokenizer train:8192",
            purpose="a file of your own, with a tokenizer trained on it",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareRequest:
    """What is to be prepared, where, and in how many processes."""

    command: ClassVar[Command] = COMMAND
    preparation: PreparationSettings
    folder: Path
    workers: int
    as_json: bool


def parse(argv: Sequence[str]) -> PrepareRequest:
    """Parse the words after `deepen data prepare`."""
    arguments = parse_arguments(COMMAND, argv)
    if "out" not in arguments and "out" not in arguments.refused:
        arguments.add("--out is missing: name the folder of the shards")
    licence = arguments.attempt(lambda: _read_licence(arguments["licence"]))
    arguments.check()
    assert licence is not None
    split_at = arguments["split_at"]
    return PrepareRequest(
        preparation=PreparationSettings(
            source=arguments.argument,
            split_at="" if split_at == _BLANK else split_at,
            licence=licence,
            tokenizer=arguments["tokenizer"],
            text_column=arguments["text_column"],
            separator=arguments["separator"],
            val_tokens=arguments["val_tokens"],
            shard_tokens=arguments["shard_tokens"],
            strict="strict" in arguments,
            keep_duplicates="keep_duplicates" in arguments,
            keep_overlap="keep_overlap" in arguments,
        ),
        folder=arguments["out"],
        workers=arguments.get("workers", usable_cores()),
        as_json="json" in arguments,
    )


def _read_licence(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{path} cannot be read as text ({error})", field="licence", value=path, remedy="name a text file"
        ) from None
