"""Rows of tokens for completions: what the completions of an example have in common is in a row once.

    prompt a b c, completions "d e" and "f"         tokens      a  b  c  d  c
                                                    targets     -  -  d  e  f
                                                    branches    0  0  1  1  2

The last common token begins each branch, as it predicts something else in each; the last token of a completion
predicts nothing and is left out. A row's targets are the next tokens that count, or NOT_SCORED.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepen.evaluate.encoding import TokenIds, shared_length
from deepen.evaluate.task import Completion

NOT_SCORED = -1
"""The target of a position whose next token does not count."""

PADDING = -1
"""The branch of padding."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a completion is in a row: the positions whose targets are its scored tokens, as two ranges."""

    index: int
    shared: range
    own: range

    @property
    def tokens(self) -> int:
        """How many of its tokens are scored."""
        return len(self.shared) + len(self.own)


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Token ids, the target and the branch of each, and the completions in the row."""

    tokens: TokenIds
    targets: TokenIds
    branches: TokenIds
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class _Text:
    """A completion with its prompt, as far as they fit the context; tokens from `start` on are scored."""

    index: int
    tokens: TokenIds
    start: int


def make_rows(groups: Iterable[Sequence[Completion]], context: int) -> list[PackedRow]:
    """The rows of all completions, numbered in order.

    Args:
        groups: completions that may begin alike, such as those of an example.
        context: the most tokens that the model reads; what stands before is cut off.
    """
    rows, index = [], 0
    for group in groups:
        texts = [_fit(index + offset, completion, context) for offset, completion in enumerate(group)]
        index += len(texts)
        shared = _shared_tokens(texts)
        if shared > 1 and len(texts) > 1:
            rows.append(_pack(texts, shared))
        else:
            rows += [_pack([text], len(text.tokens)) for text in texts]
    return rows


def _fit(index: int, completion: Completion, context: int) -> _Text:
    tokens = (*completion.prompt, *completion.tokens)[-(context + 1) :]
    return _Text(index, tokens, max(1, len(tokens) - len(completion.tokens)))  # nothing predicts the first token


def _shared_tokens(texts: Sequence[_Text]) -> int:
    """The number of tokens with which all texts begin, each but its last."""
    first = texts[0].tokens
    return min(min(shared_length(first, text.tokens), len(text.tokens) - 1) for text in texts)


def _pack(texts: Sequence[_Text], shared: int) -> PackedRow:
    """A row of texts whose first `shared` tokens are equal; for a single text, all of its tokens."""
    first = min(text.start for text in texts)
    beginning = texts[0].tokens[:shared]
    tokens, targets = [*beginning[:-1]], _mask(beginning[1:], first - 1)
    branches = [0] * len(tokens)
    parts = []
    for branch, text in enumerate(texts, start=1):
        begin, skipped = len(tokens), max(0, text.start - shared)
        tokens += text.tokens[shared - 1 : -1]
        targets += _mask(text.tokens[shared:], skipped)
        branches += [branch] * (len(tokens) - begin)
        parts.append(Part(text.index, range(text.start - 1, shared - 1), range(begin + skipped, len(tokens))))
    return PackedRow(tuple(tokens), tuple(targets), tuple(branches), tuple(parts))


def _mask(targets: TokenIds, skipped: int) -> list[int]:
    """Targets of which the first are not scored."""
    return [NOT_SCORED] * min(skipped, len(targets)) + [*targets[skipped:]]


def by_length(rows: Iterable[PackedRow], batch_tokens: int) -> Iterator[list[PackedRow]]:
    """Batches of rows of similar length, which need little padding; the longest rows first.

    Args:
        rows: the rows.
        batch_tokens: tokens of a batch, padding included.
    """
    left = sorted(rows, key=lambda row: len(row.tokens))
    while left:
        size = max(1, batch_tokens // len(left[-1].tokens))
        batch, left = left[-size:], left[:-size]
        yield batch
