"""Multiple choice in completion style: the ending with the lowest mean loss per token is the model's answer.

An example is a context and some endings. Each ending is scored after the context, as "context" + " " + ending:

    context  "The committee reported to the Congress that"
    endings  "the treaty was signed."    2.9 nats per token   <- the answer; right if the label is 0
             "banana of of the the"      7.4

The paper's code scores HellaSwag (Zellers et al. 2019) like this. lm-evaluation-harness scores it differently
(with the activity label, per byte), so its numbers cannot be compared with these.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepen.evaluate.task import Completion, CompletionModel, Score, TaskError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_LINE_BYTES = 1 << 20
"""Longer lines are refused; the longest line of HellaSwag has fewer than two thousand bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An example as text. Raises a ValueError for empty texts or a label that is not the index of an ending."""

    context: str
    endings: tuple[str, ...]
    label: int

    def __post_init__(self) -> None:
        for text in (self.context, *self.endings):
            if not isinstance(text, str) or not text.strip():
                raise ValueError("context and endings must be text")
            text.encode("utf-8")  # JSON can hold half a surrogate pair, which tokenizers refuse
        if len(self.endings) < 2 or type(self.label) is not int or not 0 <= self.label < len(self.endings):
            raise ValueError("label must be the index of one of at least two endings")


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """An example as token ids. Each ending includes the space before it."""

    context: tuple[int, ...]
    endings: tuple[tuple[int, ...], ...]
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipleChoice:
    """A multiple-choice task, read from a JSONL file with one example per line.

    Attributes:
        name, title, chance: see `Task`.
        fields: the fields of a line, for error messages.
        parse: makes an item from a line's JSON; raises a ValueError, TypeError or KeyError if it cannot.
    """

    name: str
    title: str
    chance: float | None
    fields: str
    parse: Callable[[Any], Item]
    metric: str = "accuracy"

    def check(self, path: Path) -> None:
        """Raise a TaskError unless every line of the file is an example."""
        for _ in self._read(path):
            pass

    def load(self, path: Path, tokenizer: "Tokenizer") -> list[Example]:
        """The examples of a file, tokenized. Raises a TaskError; see `Task.load`."""

        def encode(text: str) -> tuple[int, ...]:
            ids = tuple(tokenizer.encode(text, add_special_tokens=False).ids)
            if not ids:
                raise TaskError(
                    f"the tokenizer makes no tokens of {text[:40]!r} in {path}",
                    value=path,
                    remedy="use the tokenizer that made the shards",
                )
            return ids

        return [
            Example(
                context=encode(item.context),
                endings=tuple(encode(f" {ending}") for ending in item.endings),
                label=item.label,
            )
            for item in self._read(path)
        ]

    def score(self, model: CompletionModel, examples: Sequence[Example]) -> Score:
        """The accuracy of a model, with the outcome of each example."""
        completions = [
            Completion(prompt=example.context, tokens=ending) for example in examples for ending in example.endings
        ]
        losses = iter(model.completion_losses(completions))
        correct = []
        for example in examples:
            own = [next(losses) for _ in example.endings]
            correct.append(own.index(min(own)) == example.label)
        return Score.accuracy(correct)

    def _read(self, path: Path) -> Iterator[Item]:
        """The items of a file, line by line, each checked."""
        if not path.is_file():  # reading a pipe or a device might never end
            problem = "is not a file" if path.exists() else "does not exist"
            raise TaskError(f"{self.title} file {path} {problem}", value=path, remedy="name a JSONL file")
        number = 0
        try:
            with path.open("rb") as lines:
                while line := lines.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    yield self._parse_line(line, f"{path}, line {number}")
        except OSError as error:
            raise TaskError(
                f"{self.title} file {path} cannot be read: {error.strerror or error}", value=path
            ) from None
        if number == 0:
            raise TaskError(
                f"{self.title} file {path} has no items",
                value=path,
                remedy="name a JSONL file with one item per line",
            )

    def _parse_line(self, line: bytes, where: str) -> Item:
        try:
            if len(line) > MAX_LINE_BYTES:
                raise ValueError("the line is too long")
            return self.parse(json.loads(line.decode("utf-8")))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise TaskError(
                f"{where}: not a {self.title} item ({self.fields})",
                value=where,
                remedy="download the file again, or correct the line",
            ) from None


def parse_hellaswag(row: Any) -> Item:
    """An item of HellaSwag's files, official or tag-stripped; the label may be a number as text."""
    context, endings, label = row["ctx"], row["endings"], row["label"]
    if not isinstance(endings, list):
        raise TypeError("endings must be a list")
    return Item(context=context, endings=tuple(endings), label=int(label) if isinstance(label, str) else label)
