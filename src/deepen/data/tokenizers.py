"""Train, load, apply and hash byte-level BPE tokenizers, with the `tokenizers` library."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.models import BPE

from deepen.data.errors import DataError, unreadable
from deepen.data.shard_file import TokenArray
from deepen.errors import RunError

END_OF_TEXT = "<|endoftext|>"
_BATCH_DOCUMENTS = 16
"""Documents that are encoded at once, on all cores."""


def train_bpe(texts: Iterable[str], vocab: int) -> Tokenizer:
    """Train a byte-level BPE of `vocab` tokens; the end of text is token 0."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocab, special_tokens=[END_OF_TEXT], show_progress=False)
    return Tokenizer.from_str(bpe.to_str())


def encode_documents(
    tokenizer: Tokenizer, texts: Sequence[str], on_encoded: Callable[[int], None] = lambda count: None
) -> TokenArray:
    """The tokens of all documents in order, as uint16, with an end of text before each.

    Args:
        tokenizer: a tokenizer with an end of text.
        texts: the documents.
        on_encoded: called with the number of documents that were encoded since the last call.
    """
    end_of_text = np.array([tokenizer.token_to_id(END_OF_TEXT)], dtype=np.uint16)
    parts = []
    for first in range(0, len(texts), _BATCH_DOCUMENTS):
        batch = list(texts[first : first + _BATCH_DOCUMENTS])
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            parts += [end_of_text, np.array(encoding.ids, dtype=np.uint16)]
        on_encoded(len(batch))
    return np.concatenate(parts)


def find_tokenizer(folder: Path) -> tuple[Path, ...]:
    """The tokenizer files in a folder: `tokenizer.json`, GPT-2's `encoder.json` and `vocab.bpe`, or none."""
    for names in (("tokenizer.json",), ("encoder.json", "vocab.bpe")):
        paths = tuple(folder / name for name in names)
        if paths[0].exists():
            return paths if all(path.is_file() for path in paths) else ()
    return ()


def hash_tokenizer(folder: Path) -> str:
    """The sha256 of the tokenizer in a folder, over its files in order; empty if there is none."""
    paths = find_tokenizer(folder)
    return _hash_files([path.read_bytes() for path in paths]) if paths else ""


def load_tokenizer(folder: Path, vocab: int | None = None, *, sha256: str | None = None) -> Tokenizer:
    """Load the tokenizer of a folder from the files that `find_tokenizer` finds.

    It encodes every text completely and always alike: truncation, padding and random merges (dropout), which
    training code stores in tokenizer.json, are switched off.

    Args:
        folder: a folder of shards.
        vocab: vocabulary of the model; the tokenizer's must not be larger.
        sha256: what `hash_tokenizer` returned before.

    Raises:
        DataError: there is no tokenizer, it cannot be read, it is damaged, or it has tokens that the model does
            not have.
        RunError: it has another content than before.
    """
    paths = find_tokenizer(folder)
    if not paths:
        raise DataError(
            f"{folder} has no tokenizer, which tasks need",
            value=folder,
            remedy="put tokenizer.json there, or GPT-2's encoder.json and vocab.bpe",
        )
    try:
        contents = [path.read_bytes() for path in paths]
    except OSError as error:
        raise unreadable(f"tokenizer {error.filename or paths[0]}", paths[0], error) from None
    if sha256 not in (None, _hash_files(contents)):
        raise RunError(f"tokenizer {paths[0]} has changed since the command began", remedy="restore it")
    try:
        tokenizer = _parse(contents)
        highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    except Exception as error:  # the library raises plain Exceptions
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        problem = f"{paths[0]} is not a tokenizer ({reason})"
        raise DataError(problem, value=paths[0], remedy="copy it again") from None
    if vocab is not None and highest >= vocab:
        raise DataError(
            f"{paths[0]} has token {highest}, the model's vocabulary ends at {vocab - 1}",
            value=paths[0],
            remedy="use the tokenizer that made the shards, or another model",
        )
    return tokenizer


def _hash_files(contents: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _parse(contents: Sequence[bytes]) -> Tokenizer:
    """The tokenizer in tokenizer.json, or in encoder.json and vocab.bpe, which differ only in their packaging."""
    if len(contents) == 1:
        tokenizer = Tokenizer.from_buffer(contents[0])
    else:
        merges = [line.split(" ") for line in contents[1].decode().split("\n") if not line.startswith("#version")]
        pairs = [(pair[0], pair[1]) for pair in merges if len(pair) == 2]
        tokenizer = Tokenizer.from_str(ByteLevelBPETokenizer(json.loads(contents[0]), pairs).to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, BPE):
        tokenizer.model.dropout = None
    return tokenizer
