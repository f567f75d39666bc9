"""Tokenizers: any Hugging Face tokenizer.json, GPT-2's, bytes, or one that is trained here.

    tokenizer = make_tokenizer("gpt2")            # or "byte", or the path of a tokenizer.json or of its folder
    tokenizer.encode("Hello, I'm a language model,")          # [15496, 11, 314, 1101, 257, 3303, 2746, 11]
    tokenizer.write(folder)                       # tokenizer.json
    load_tokenizer(folder)                        # the same tokenizer, wherever the folder is

On disk a tokenizer is one file, tokenizer.json, or the two of GPT-2's release, encoder.json and vocab.bpe. It is
identified by the sha256 of their content. Which library encodes does not matter: tiktoken, where it is installed,
encodes byte-level BPE as GPT-2's faster, with the same ids.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import ByteLevelBPETokenizer
from tokenizers.models import BPE

from deepen.data import gpt2_tokenizer
from deepen.data.byte_level import make_encoder, name_bytes
from deepen.data.errors import DataError
from deepen.data.tokenizer_files import find_tokenizer, hash_files, hash_tokenizer, read_files
from deepen.durable import write_whole
from deepen.errors import RunError

END_OF_TEXT = "<|endoftext|>"
ENDS_OF_TEXT = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>", "<|eos|>", "[EOS]")
"""What families call their end of text, GPT-2's, OLMo's and Qwen's name first, then Llama 3's, Llama 2's, ..."""


class Tokenizer:
    """A tokenizer that encodes every text completely and always alike.

    Truncation, padding and random merges (dropout), which training code stores in tokenizer.json, are switched
    off. Nothing is added to a text, and the name of a special token in a text is encoded as text.

    Attributes:
        files: its files, by name, byte by byte as they were read.
        vocab: the highest id + 1, added tokens included.
        end_of_text: the id of the token that separates documents; None if the tokenizer has none that is known.
        unknown: the id of what it has no token for; None if there is no such id.
        sha256: identifies it; the hash of its files.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Read a tokenizer from its files, by name. Raises any exception if they are not a tokenizer."""
        self.files = dict(files)
        contents = [*files.values()]
        self._tokenizer = _parse(contents)
        self.vocab = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        ids = (self._tokenizer.token_to_id(name) for name in ENDS_OF_TEXT)
        self.end_of_text: int | None = next((number for number in ids if number is not None), None)
        unknown = getattr(self._tokenizer.model, "unk_token", None) or "<unk>"  # Unigram keeps its name to itself
        self.unknown: int | None = self._tokenizer.token_to_id(unknown)
        self.sha256 = hash_files(contents)
        self._fast_encoder = make_encoder(self._tokenizer)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens."""
        if self._fast_encoder is not None:
            return [int(token) for token in self._fast_encoder(text)]
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """The ids of each text: as `encode`, faster."""
        if self._fast_encoder is not None:
            return [self._fast_encoder(text) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; special tokens are written with their names."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def find_token(self, name: str) -> int | None:
        """The id of a token by its name, a special one too; None if there is no such token."""
        number: int | None = self._tokenizer.token_to_id(name)
        return number

    def write(self, folder: Path) -> None:
        """Write the tokenizer's files to a folder that exists."""
        for name, content in self.files.items():
            write_whole(folder / name, content)

    def in_one_file(self) -> "Tokenizer":
        """The same tokenizer as a tokenizer.json; itself if it was read from one."""
        return self if len(self.files) == 1 else Tokenizer({"tokenizer.json": self.to_json().encode()})

    def to_json(self) -> str:
        """The tokenizer as the text of a tokenizer.json, also if it was read from GPT-2's two files."""
        text: str = self._tokenizer.to_str()
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.files,)


def make_tokenizer(choice: str, vocab: int | None = None, *, sha256: str | None = None) -> Tokenizer:
    """The tokenizer that a user names.

    Args:
        choice: `gpt2`, `byte`, or the path of a tokenizer.json or of a folder with a tokenizer.
        vocab: vocabulary of the model; the tokenizer's must not be larger.
        sha256: the tokenizer's hash before.

    Raises:
        DataError: there is no such tokenizer, it cannot be read, it is damaged, or it has tokens that the model
            does not have.
        RunError: it has another content than before.
    """
    tokenizer = _make(choice)
    if sha256 not in (None, tokenizer.sha256):
        raise _changed(choice)
    if vocab is not None and tokenizer.vocab > vocab:
        raise DataError(
            f"tokenizer {choice} has token {tokenizer.vocab - 1}, the model's vocabulary ends at {vocab - 1}",
            value=choice,
            remedy="use the tokenizer that made the shards, or another model",
        )
    return tokenizer


def load_tokenizer(folder: Path, vocab: int | None = None, *, sha256: str | None = None) -> Tokenizer:
    """Load the tokenizer of a folder from the files that `find_tokenizer` finds; otherwise as `make_tokenizer`."""
    return make_tokenizer(str(folder.absolute()), vocab, sha256=sha256)


def make_folder_tokenizer(folder: Path, choice: str = "") -> Tokenizer | None:
    """The tokenizer that a user names for a folder of shards, else that of the folder; None if it has none."""
    if not choice and not find_tokenizer(folder):
        return None
    return make_tokenizer(choice or str(folder.absolute()))


def copy_tokenizer(choice: str, folder: Path, sha256: str) -> None:
    """Write the files of a tokenizer to a folder, which is made; does nothing if they are there.

    Args:
        choice: as for `make_tokenizer`.
        folder: where to write.
        sha256: the tokenizer's hash.

    Raises:
        DataError: it cannot be read.
        RunError: it has another content.
    """
    if hash_tokenizer(folder) == sha256:
        return
    paths = find_tokenizer(Path(choice))
    files = read_files(paths) if paths else make_tokenizer(choice).files
    if hash_files([*files.values()]) != sha256:
        raise _changed(choice)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content)


def _make(choice: str) -> Tokenizer:
    if choice == "gpt2":
        return Tokenizer({"tokenizer.json": _to_json(_parse(gpt2_tokenizer.read_files()))})
    if choice == "byte":
        return Tokenizer({"tokenizer.json": _to_json(_byte_tokenizer())})
    path = Path(choice)
    if path.is_dir():
        return _read(_require(path))
    if not path.is_file():
        raise DataError(
            f"is {choice!r}, and there is no such file or folder",
            field="tokenizer",
            value=choice,
            remedy="use gpt2, byte, or the path of a tokenizer.json; to prepare data, also train:8192",
        )
    return _read([path])


def train_bpe(texts: Iterable[str], vocab: int) -> Tokenizer:
    """Train a byte-level BPE of `vocab` tokens; the end of text is token 0."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocab, special_tokens=[END_OF_TEXT], show_progress=False)
    return Tokenizer({"tokenizer.json": bpe.to_str().encode()})


def _require(folder: Path) -> tuple[Path, ...]:
    """The tokenizer files in a folder; raises a DataError if there are none."""
    if paths := find_tokenizer(folder):
        return paths
    sentencepiece = (folder / "tokenizer.model").exists()
    raise DataError(
        f"{folder} has no tokenizer" + (", only SentencePiece's tokenizer.model" if sentencepiece else ""),
        value=folder,
        remedy="save it as tokenizer.json: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        if sentencepiece
        else "put tokenizer.json there, or GPT-2's encoder.json and vocab.bpe, or name one with `tokenizer`",
    )


def _read(paths: Sequence[Path]) -> Tokenizer:
    files = read_files(paths)
    if len(files) == 1:  # any file that a user names
        files = {"tokenizer.json": next(iter(files.values()))}
    try:
        return Tokenizer(files)
    except Exception as error:  # the library raises plain Exceptions
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise DataError(
            f"{paths[0]} is not a tokenizer ({reason})", value=paths[0], remedy="copy it again"
        ) from None


def _changed(choice: str) -> RunError:
    paths = find_tokenizer(Path(choice))
    name = paths[0] if paths else choice
    return RunError(f"tokenizer {name} has changed since the command began", remedy="restore it")


def _to_json(tokenizer: tokenizers.Tokenizer) -> bytes:
    content: bytes = tokenizer.to_str().encode()
    return content


def _byte_tokenizer() -> tokenizers.Tokenizer:
    """A token for each byte, whose id is the byte; the end of text is token 256."""
    bpe = ByteLevelBPETokenizer({name: byte for byte, name in enumerate(name_bytes())}, [])
    bpe.add_special_tokens([END_OF_TEXT])
    return tokenizers.Tokenizer.from_str(bpe.to_str())


def _parse(contents: Sequence[bytes]) -> tokenizers.Tokenizer:
    """The tokenizer in tokenizer.json, or in encoder.json and vocab.bpe, which differ only in their packaging."""
    if len(contents) == 1:
        tokenizer = tokenizers.Tokenizer.from_buffer(contents[0])
    else:
        merges = [line.split(" ") for line in contents[1].decode().split("\n") if not line.startswith("#version")]
        pairs = [(pair[0], pair[1]) for pair in merges if len(pair) == 2]
        bpe = ByteLevelBPETokenizer(json.loads(contents[0]), pairs)
        bpe.add_special_tokens([END_OF_TEXT])
        tokenizer = tokenizers.Tokenizer.from_str(bpe.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    if isinstance(tokenizer.model, BPE):
        tokenizer.model.dropout = None
    return tokenizer
