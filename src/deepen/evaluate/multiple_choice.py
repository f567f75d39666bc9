"""Multiple choice: the answer that the model finds most likely after its context.

An example is a context and some endings, each of which is scored after it:

    context  "The committee reported to the Congress that"
    endings  " the treaty was signed."    2.9 nats per token   <- the answer; right if the label is 0
             " banana of of the the"      7.4

What is compared is a `Measure` of an ending's loss. A longer ending has the larger sum, so there are several:

    acc         the sum, that is the log-likelihood of the whole ending
    acc_norm    per character of the answer: "normalised accuracy" of lm-evaluation-harness
    acc_token   per token: the paper's code for HellaSwag, called completion style here

The first measure of a task is its value. Prompts and measures of all tasks but `hellaswag` are those of
lm-evaluation-harness, and so are the scores.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepen.evaluate.encoding import Split, encode_pairs, naming_file, split_at_shared
from deepen.evaluate.formats import Item, publish_as_is
from deepen.evaluate.task import Completion, CompletionModel, CompletionScore, Score
from deepen.evaluate.task_file import Row, read_items

if TYPE_CHECKING:
    from deepen.data.tokenizers import Tokenizer

Measure = Callable[[CompletionScore, int], float]
"""What the answers are compared by, given an ending's score and its characters; the smallest is the answer."""

MEASURES: dict[str, Measure] = {
    "acc": lambda score, characters: score.loss,
    "acc_norm": lambda score, characters: score.loss / characters,
    "acc_token": lambda score, characters: score.mean_loss,
}
"""Measures by the name of the metric."""

MEASURE_TITLES = {
    "acc": "accuracy by the log-likelihood of the whole answer",
    "acc_norm": "accuracy by log-likelihood per character",
    "acc_token": "accuracy by log-likelihood per token",
}
"""What a metric is, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """An example as token ids: a completion for each ending, the characters of each, and the right one's index."""

    completions: tuple[Completion, ...]
    lengths: tuple[int, ...]
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipleChoice:
    """A multiple-choice task, read from a JSONL file with one example per line.

    Attributes:
        name, title, chance: see `Task`.
        fields: the fields of a line, for error messages.
        parse: makes an item of a published row; see `task_file.read_items`.
        publish: makes a published row of a line's JSON.
        measures: names in `MEASURES`; the first gives the value.
        split: where prompt and ending are divided.
        part_field: the field of a published row that names the part of the task to which it belongs, such as a
            phenomenon of BLiMP; empty if the task has no parts.
    """

    name: str
    title: str
    chance: float | None
    fields: str
    parse: Callable[[Any], Item]
    publish: Callable[[Row], Row] = publish_as_is
    measures: tuple[str, ...] = ("acc",)
    split: Split = split_at_shared
    part_field: str = ""
    metric: str = "accuracy"

    def check(self, path: Path) -> None:
        """Raise a TaskError unless every line of the file is an example."""
        for _ in self._items(path):
            pass

    def rows(self, path: Path) -> list[Row]:
        """The rows of a file in the form in which they were published. Raises a TaskError; see `Task.load`."""
        return [row for row, _ in self._items(path)]

    def load(self, path: Path, tokenizer: "Tokenizer") -> list[Example]:
        """The examples of a file, tokenized. Raises a TaskError; see `Task.load`."""
        items = [item for _, item in self._items(path)]
        pairs = [pair for item in items for pair in zip(item.contexts, item.endings, strict=True)]
        with naming_file(path):
            completions = iter(encode_pairs(pairs, tokenizer, self.split))
        return [
            Example(
                completions=tuple(next(completions) for _ in item.endings),
                lengths=item.lengths,
                label=item.label,
            )
            for item in items
        ]

    def score(self, model: CompletionModel, examples: Sequence[Example]) -> Score:
        """The accuracy of a model, with the outcome of each example."""
        scored = model.score_completions([example.completions for example in examples])
        scores = {
            name: Score.accuracy(
                [
                    choose(MEASURES[name], scores, example.lengths) == example.label
                    for scores, example in zip(scored, examples, strict=True)
                ]
            )
            for name in self.measures
        }
        return scores[self.measures[0]].with_metrics(scores)

    def _items(self, path: Path) -> Iterator[tuple[Row, Item]]:
        return read_items(path, self.title, self.fields, self.publish, self.parse)


def choose(measure: Measure, scores: Sequence[CompletionScore], lengths: Sequence[int]) -> int:
    """The index of the ending that a model finds most likely; of equal ones the first."""
    values = [measure(score, length) for score, length in zip(scores, lengths, strict=True)]
    return values.index(min(values))
