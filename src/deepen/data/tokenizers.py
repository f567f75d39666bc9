"""Byte-level BPE, trained and read with the `tokenizers` library."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from deepen.data.description import inside
from deepen.data.shard_file import DataError, TokenArray

END_OF_TEXT = "<|endoftext|>"


def train_bpe(texts: Iterable[str], vocab: int) -> Tokenizer:
    """A byte-level BPE of `vocab` tokens; the end of text is token 0."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocab, special_tokens=[END_OF_TEXT], show_progress=False)
    return Tokenizer.from_str(bpe.to_str())


def encode_documents(tokenizer: Tokenizer, texts: Sequence[str]) -> TokenArray:
    """All documents in a row, an end of text before each, as uint16."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    pieces = []
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        pieces += [np.array([end], dtype=np.uint16), np.array(encoding.ids, dtype=np.uint16)]
    return np.concatenate(pieces)


def load_tokenizer(folder: Path, vocab: int | None = None) -> Tokenizer:
    """The tokenizer beside a folder's shards: `tokenizer.json`, or GPT-2's `encoder.json` and `vocab.bpe`.

    Args:
        vocab: the model's, which the tokenizer may not go beyond.

    Raises:
        DataError: there is none, it is damaged, or it has tokens that the model does not.
    """
    names = ("tokenizer.json",) if (folder / "tokenizer.json").exists() else ("encoder.json", "vocab.bpe")
    paths = [folder / name for name in names]
    if not all(path.is_file() for path in paths):
        raise DataError(
            f"{folder} has no tokenizer, which tasks need: put tokenizer.json there, "
            "or GPT-2's encoder.json and vocab.bpe"
        )
    for path in paths:
        inside(folder, path)
    try:
        if len(paths) == 1:
            tokenizer = Tokenizer.from_file(str(paths[0]))
        else:
            tokenizer = Tokenizer.from_str(ByteLevelBPETokenizer(*map(str, paths)).to_str())
        highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    except Exception as error:  # the library raises nothing narrower
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise DataError(f"{paths[0]} is no tokenizer ({reason}): copy it again") from None
    if vocab is not None and highest >= vocab:
        raise DataError(
            f"{paths[0]} has token {highest}, the model's vocabulary ends at {vocab - 1}: "
            "use the tokenizer that made the shards, or another model"
        )
    return tokenizer
