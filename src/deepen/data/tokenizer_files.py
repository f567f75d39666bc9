"""The files of tokenizers in folders: found, read and hashed, not parsed. Needs no other package."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from deepen.data import gpt2_tokenizer
from deepen.data.errors import unreadable

_FILES = (("tokenizer.json",), gpt2_tokenizer.FILES)


def find_tokenizer(folder: Path) -> tuple[Path, ...]:
    """The tokenizer files in a folder: `tokenizer.json`, GPT-2's `encoder.json` and `vocab.bpe`, or none."""
    for names in _FILES:
        paths = tuple(folder / name for name in names)
        if paths[0].exists():
            return paths if all(path.is_file() for path in paths) else ()
    return ()


def hash_tokenizer(folder: Path) -> str:
    """The sha256 of the tokenizer in a folder, over its files in order; empty if there is none."""
    paths = find_tokenizer(folder)
    return hash_files([path.read_bytes() for path in paths]) if paths else ""


def read_files(paths: Sequence[Path]) -> dict[str, bytes]:
    """The content of files by name; raises a DataError if one cannot be read."""
    try:
        return {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise unreadable(f"tokenizer {error.filename or paths[0]}", paths[0], error) from None


def hash_files(contents: Sequence[bytes]) -> str:
    """The sha256 of files one after the other, which identifies a tokenizer."""
    return hashlib.sha256(b"".join(contents)).hexdigest()
