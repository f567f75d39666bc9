"""Tasks without choices: the last word of a passage (LAMBADA), and the loss on any text.

Both are scored as in lm-evaluation-harness. A last word counts as right if each of its tokens is the model's first
choice. A document is read after an end of text, in pieces as long as the model's context:

    tokens a b c d e, context 2      <end> a → a b      b c → c d      c d → e
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepen.evaluate.encoding import (
    TokenIds,
    encode_pairs,
    encode_texts,
    find_end_of_text,
    naming_file,
    split_by_length,
)
from deepen.evaluate.formats import parse_lambada, parse_text, publish_as_is, publish_lambada
from deepen.evaluate.task import Completion, CompletionModel, Score
from deepen.evaluate.task_file import Row, read_items

if TYPE_CHECKING:
    from deepen.data.tokenizers import Tokenizer

_MAX_EXPONENT = 700.0
"""The largest loss whose perplexity is a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LastWord:
    """Accuracy and perplexity of the last word of a passage."""

    name: str
    title: str
    metric: str = "accuracy"
    chance: float | None = None

    def check(self, path: Path) -> None:
        """Raise a TaskError unless every line of the file is a passage."""
        for _ in self._passages(path):
            pass

    def rows(self, path: Path) -> list[Row]:
        """The rows of a file in the form in which they were published. Raises a TaskError; see `Task.load`."""
        return [row for row, _ in self._passages(path)]

    def load(self, path: Path, tokenizer: "Tokenizer") -> list[Completion]:
        """The passages of a file, tokenized. Raises a TaskError; see `Task.load`."""
        with naming_file(path):
            return encode_pairs([pair for _, pair in self._passages(path)], tokenizer, split_by_length)

    def score(self, model: CompletionModel, examples: Sequence[Completion]) -> Score:
        """The share of last words that the model would write; beside it their perplexity, per word."""
        scores = [score for (score,) in model.score_completions([[example] for example in examples])]
        accuracy = Score.accuracy([score.is_greedy for score in scores])
        mean, stderr = _mean_of_ratio([score.loss for score in scores], [1] * len(scores))
        perplexity = math.exp(min(mean, _MAX_EXPONENT))
        word = Score(value=perplexity, stderr=perplexity * stderr, n=len(scores))
        return accuracy.with_metrics({"acc": accuracy, "perplexity": word})

    def _passages(self, path: Path) -> Iterator[tuple[Row, tuple[str, str]]]:
        return read_items(path, self.title, "text, or context and continuation", publish_lambada, parse_lambada)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedDocument:
    """A document: its tokens after an end of text, and its bytes in UTF-8."""

    tokens: TokenIds
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """The loss on documents, per token and per byte; bits per byte do not depend on the tokenizer."""

    name: str
    title: str
    metric: str = "nats per token"
    chance: float | None = None

    def check(self, path: Path) -> None:
        """Raise a TaskError unless every line of the file is a document."""
        for _ in self._documents(path):
            pass

    def rows(self, path: Path) -> list[Row]:
        """The rows of a file. Raises a TaskError; see `Task.load`."""
        return [row for row, _ in self._documents(path)]

    def load(self, path: Path, tokenizer: "Tokenizer") -> list[EncodedDocument]:
        """The documents of a file, tokenized. Raises a TaskError; see `Task.load`."""
        texts = [text for _, text in self._documents(path)]
        with naming_file(path):
            encoded, start = encode_texts(texts, tokenizer), find_end_of_text(tokenizer)
        return [EncodedDocument(tokens=(start, *encoded[text]), size=len(text.encode())) for text in texts]

    def score(self, model: CompletionModel, examples: Sequence[EncodedDocument]) -> Score:
        """The mean loss per token; beside it bits per byte. The standard errors are over documents."""
        pieces = [split_document(document.tokens, model.context) for document in examples]
        flat = [[piece] for document in pieces for piece in document]
        scores = iter(model.score_completions(flat))
        losses = [sum(next(scores)[0].loss for _ in document) for document in pieces]
        tokens = [len(document.tokens) - 1 for document in examples]
        per_token, per_byte = (
            _mean_of_ratio(losses, sizes) for sizes in (tokens, [document.size for document in examples])
        )
        loss = Score(value=per_token[0], stderr=per_token[1], n=sum(tokens))
        bits = Score(value=per_byte[0] / math.log(2), stderr=per_byte[1] / math.log(2), n=len(examples))
        return loss.with_metrics({"loss": loss, "bits_per_byte": bits})

    def _documents(self, path: Path) -> Iterator[tuple[Row, str]]:
        return read_items(path, self.title, "text", publish_as_is, parse_text)


def split_document(tokens: TokenIds, context: int) -> list[Completion]:
    """The pieces of a document in which each token but the first is scored once.

    Each piece is read with as many of the tokens before it as fit.
    """
    ends = [*range(context, len(tokens) - 1, context), len(tokens) - 1]
    starts = [0, *ends[:-1]]
    return [
        Completion(prompt=tokens[max(0, end - context) : start + 1], tokens=tokens[start + 1 : end + 1])
        for start, end in zip(starts, ends, strict=True)
    ]


def _mean_of_ratio(totals: Sequence[float], sizes: Sequence[int]) -> tuple[float, float]:
    """The sum of totals ÷ the sum of sizes, and its standard error over the members."""
    n, size = len(totals), sum(sizes)
    ratio = sum(totals) / size
    if n < 2:
        return ratio, 0.0
    squares = sum((total - ratio * own) ** 2 for total, own in zip(totals, sizes, strict=True))
    return ratio, math.sqrt(squares * n / (n - 1)) / size
