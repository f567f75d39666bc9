"""Multiple choice in completion style: the ending with the lowest mean loss per token is the model's answer.

An example is a context and some endings. Each ending is scored after the context, as "context" + " " + ending:

    context  "The committee reported to the Congress that"
    endings  "the treaty was signed."    2.9 nats per token   <- the answer; right if the label is 0
             "banana of of the the"      7.4

Context and ending are encoded as one text, as they would stand in training data. The tokens with which both this
text and the context alone begin are the prompt; the others are scored. So a tokenizer that marks the beginning of
a text (the "▁" of Llama 2 and Mistral) adds no mark before the ending. Where the end of the context merges with
the ending, the merged token is scored:

    context "In the", ending "sea"      alone  ▁In ▁the   whole  ▁In ▁the ▁sea        scored  ▁sea
    context "In New", ending "York."    alone  ▁In ▁New   whole  ▁In ▁New▁York .      scored  ▁New▁York .

lm-evaluation-harness encodes the whole text too, but splits it after as many tokens as the context alone has (in
the second row it scores "." only), and moves spaces at the end of the context to the ending. Where nothing merges
and the context does not end in a space, both give the same tokens. GPT-2's tokenizer never merges across the space
before an ending, so with it the tokens are also those of an ending that is encoded alone.

The paper's code scores HellaSwag (Zellers et al. 2019) like this. lm-evaluation-harness scores it differently
(with the activity label, per byte), so its numbers cannot be compared with these.
"""

import codecs
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepen.evaluate.task import Completion, CompletionModel, Score, TaskError, open_task_file

if TYPE_CHECKING:
    from deepen.data.tokenizers import Tokenizer

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
    """An example as token ids: a completion for each ending, and the index of the right one."""

    completions: tuple[Completion, ...]
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
        examples = []
        for item in self._read(path):
            try:
                examples.append(encode_item(item, tokenizer))
            except ValueError as error:
                raise TaskError(
                    f"{error} in {path}", value=path, remedy="use the tokenizer that made the shards"
                ) from None
        return examples

    def score(self, model: CompletionModel, examples: Sequence[Example]) -> Score:
        """The accuracy of a model, with the outcome of each example."""
        losses = iter(model.completion_losses([each for example in examples for each in example.completions]))
        correct = []
        for example in examples:
            own = [next(losses) for _ in example.completions]
            correct.append(own.index(min(own)) == example.label)
        return Score.accuracy(correct)

    def _read(self, path: Path) -> Iterator[Item]:
        """The items of a file, line by line, each checked; blank lines are skipped."""
        number, items = 0, 0
        with open_task_file(path) as lines:
            while line := lines.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if line.strip() or len(line) > MAX_LINE_BYTES:
                    items += 1
                    yield self._parse_line(line, f"{path}, line {number}")
        if items == 0:
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


def encode_item(item: Item, tokenizer: "Tokenizer") -> Example:
    """Encode an item. Raises a ValueError if the tokenizer makes too few tokens of it to score an ending."""

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text))

    context = encode(item.context)
    if not context:
        raise ValueError(f"the tokenizer makes no tokens of the context {item.context[:40]!r}")
    completions = []
    for ending in item.endings:
        whole = encode(f"{item.context} {ending}")
        split = _shared_length(context, whole)
        if split == len(whole) or len(whole) < 2:  # the first token of all has nothing before it
            raise ValueError(f"the tokenizer makes no tokens of the ending {ending[:40]!r}")
        completions.append(Completion(prompt=whole[:split], tokens=whole[split:]))
    return Example(completions=tuple(completions), label=item.label)


def _shared_length(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of tokens with which both sequences begin."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def parse_hellaswag(row: Any) -> Item:
    """An item of HellaSwag's files, official or tag-stripped; the label may be a number as text."""
    context, endings, label = row["ctx"], row["endings"], row["label"]
    if not isinstance(endings, list):
        raise TypeError("endings must be a list")
    return Item(context=context, endings=tuple(endings), label=int(label) if isinstance(label, str) else label)
