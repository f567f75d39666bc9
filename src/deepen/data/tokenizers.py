"""Byte-level BPE, trained and read with the `tokenizers` library."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from deepen.data.shards import DataError, TokenArray

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


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer beside a folder's shards: `tokenizer.json`, or GPT-2's `encoder.json` and `vocab.bpe`."""
    if (folder / "tokenizer.json").exists():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    if (folder / "encoder.json").exists() and (folder / "vocab.bpe").exists():
        bpe = ByteLevelBPETokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
        return Tokenizer.from_str(bpe.to_str())
    raise DataError(
        f"{folder} has no tokenizer, which tasks need: put tokenizer.json there, "
        "or GPT-2's encoder.json and vocab.bpe"
    )
