"""The tokenizer of a preparation: one that exists, or one that is trained on the source."""

from collections.abc import Iterator

from deepen.data.errors import DataError
from deepen.data.preparation.blocks import Source
from deepen.data.preparation.worker import read_texts
from deepen.data.shards import OnPreparation
from deepen.data.tokenizers import Tokenizer, make_tokenizer, train_bpe
from deepen.errors import InvalidValueError

TRAIN = "train:"
NO_SEPARATOR = "none"

MAX_TRAINING_CHARACTERS = 100_000_000
"""A tokenizer is trained on the first documents of the source, on this many characters at most."""

MIN_VOCAB, MAX_VOCAB = 257, 1 << 20


def choose_tokenizer(choice: str, source: Source, on_progress: OnPreparation) -> Tokenizer:
    """The tokenizer that is named; `train:VOCAB` trains one.

    Raises:
        InvalidValueError: there is no such tokenizer, or the source has too little text for such a vocabulary.
    """
    if not choice.startswith(TRAIN):
        return make_tokenizer(choice).in_one_file()
    vocab = _read_vocab(choice)
    on_progress("training a tokenizer", None)
    tokenizer = train_bpe(_read_sample(source), vocab)
    if tokenizer.vocab != vocab:
        raise DataError(
            f"is {choice}, but the source has text for {tokenizer.vocab:,} tokens only",
            field="tokenizer",
            value=choice,
            remedy=f"use {TRAIN}{tokenizer.vocab}, or gpt2",
        )
    return tokenizer


def find_separator(tokenizer: Tokenizer, name: str | None) -> int | None:
    """The id of the token that is put before each document; None for none.

    Args:
        tokenizer: the tokenizer.
        name: the token's name, `none`, or None for the tokenizer's end of text.

    Raises:
        InvalidValueError: the tokenizer has no such token.
    """
    if name == NO_SEPARATOR:
        return None
    token = tokenizer.end_of_text if name is None else tokenizer.find_token(name)
    if token is None:
        unknown = "is missing: the tokenizer has no end of text that is known"
        raise InvalidValueError(
            unknown if name is None else f"is {name!r}, which the tokenizer does not have",
            field="separator",
            value=name,
            remedy=f"name one of its tokens, or {NO_SEPARATOR}",
        )
    return token


def _read_vocab(choice: str) -> int:
    text = choice.removeprefix(TRAIN)
    if not text.isdecimal() or not MIN_VOCAB <= int(text) <= MAX_VOCAB:
        raise DataError(
            f"is {choice!r}: a vocabulary has {MIN_VOCAB} to {MAX_VOCAB:,} tokens",
            field="tokenizer",
            value=choice,
            remedy=f"use {TRAIN}8192, for example",
        )
    return int(text)


def _read_sample(source: Source) -> Iterator[str]:
    """Documents whose keys are in the upper half: held-out ones are in the lower half, so none of them is used."""
    characters = 0
    for placed in source.blocks({}):
        for text, key in read_texts(placed.block):
            if key[0] >= 128:
                yield text
                characters += len(text)
        if characters >= MAX_TRAINING_CHARACTERS:
            return
