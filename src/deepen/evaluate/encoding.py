"""Encode a context and what follows it as one text, as it would stand in training data.

The tokens of the whole text are split into a prompt and the tokens to score. So a tokenizer that marks the
beginning of a text (the "▁" of Llama 2 and Mistral) adds no mark before the ending. Where the end of the context
merges with the ending, there are two ways to split:

    context "In New", ending " York."    alone  ▁In ▁New    whole  ▁In ▁New▁York .
    split_at_shared    after the tokens that both have in common; scored  ▁New▁York .
    split_by_length    after as many tokens as the context alone has, as lm-evaluation-harness; scored  .

`split_by_length` also moves spaces at the end of the context to the ending, as the harness does. Where nothing
merges and the context ends in no space, both are equal. GPT-2's tokenizer never merges across the space before an
ending, so with it the scored tokens are also those of an ending that is encoded alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from deepen.evaluate.task import Completion, TaskError

if TYPE_CHECKING:
    from deepen.data.tokenizers import Tokenizer

TokenIds = tuple[int, ...]
Split = Callable[[TokenIds, TokenIds], int]
"""How many tokens of a whole text are the prompt, given the tokens of the context alone and of the whole text."""


def shared_length(first: Sequence[object], second: Sequence[object]) -> int:
    """The number of elements with which both sequences begin."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def split_at_shared(context: TokenIds, whole: TokenIds) -> int:
    """The number of tokens with which both texts begin."""
    return shared_length(context, whole)


def split_by_length(context: TokenIds, whole: TokenIds) -> int:
    """The number of tokens of the context; where that leaves nothing to score, as `split_at_shared`."""
    return len(context) if len(context) < len(whole) else split_at_shared(context, whole)


def encode_pairs(
    pairs: Iterable[tuple[str, str]], tokenizer: "Tokenizer", split: Split = split_at_shared
) -> list[Completion]:
    """Encode contexts and endings. An empty context becomes the tokenizer's end of text.

    Raises:
        ValueError: the tokenizer makes no tokens of a context or of an ending, or it has no end of text.
    """
    if split is split_by_length:
        pairs = map(_move_spaces, pairs)
    pairs = list(pairs)
    encoded = encode_texts((text for pair in pairs for text in (pair[0], "".join(pair))), tokenizer)
    return [
        _split(encoded[context], encoded[context + ending], split, (context, ending))
        if context
        else Completion((find_end_of_text(tokenizer),), _nonempty(encoded[ending], ending))
        for context, ending in pairs
    ]


def encode_texts(texts: Iterable[str], tokenizer: "Tokenizer") -> dict[str, TokenIds]:
    """The tokens of each text, without special tokens."""
    ordered = list(dict.fromkeys(texts))
    return {text: tuple(ids.tolist()) for text, ids in zip(ordered, tokenizer.encode_batch(ordered), strict=True)}


def find_end_of_text(tokenizer: "Tokenizer") -> int:
    """The token before a document. Raises a ValueError if the tokenizer has none."""
    if tokenizer.end_of_text is None:
        raise ValueError("the tokenizer has no end of text, which stands before a text without context,")
    return tokenizer.end_of_text


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """In this context, a text that a tokenizer cannot encode is a TaskError that names the file."""
    try:
        yield
    except ValueError as error:
        remedy = "use the tokenizer that made the shards"
        raise TaskError(f"{error} in {path}", value=path, remedy=remedy) from None


def _split(context: TokenIds, whole: TokenIds, split: Split, texts: Sequence[str]) -> Completion:
    _nonempty(context, texts[0], "context")
    prompt = split(context, whole)
    if prompt == len(whole) or len(whole) < 2:  # the first token of all has nothing before it
        raise _no_tokens("ending", texts[1])
    return Completion(prompt=whole[:prompt], tokens=whole[prompt:])


def _nonempty(tokens: TokenIds, text: str, what: str = "ending") -> TokenIds:
    if not tokens:
        raise _no_tokens(what, text)
    return tokens


def _no_tokens(what: str, text: str) -> ValueError:
    return ValueError(f"the tokenizer makes no tokens of the {what} {text.strip()[:40]!r}")


def _move_spaces(pair: tuple[str, str]) -> tuple[str, str]:
    context, ending = pair
    kept = context.rstrip()
    return kept, context[len(kept) :] + ending
