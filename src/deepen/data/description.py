"""dataset.json: what a folder of shards was made of; a stranger's file, in which nothing is trusted unchecked."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepen.data.shard_file import DataError

FILE = "dataset.json"
_MAX_FILE_BYTES = 1 << 24
"""Bytes of the longest description that is read; a thousand shards take a tenth of a megabyte."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """Name, vocabulary, the tokenizer's sha256, and each shard's by its file name."""

    name: str
    vocab: int
    tokenizer_sha256: str
    shards: Mapping[str, str]


def read_description(folder: Path) -> Description | None:
    """The description in a folder, None where there is none.

    Raises:
        DataError: it is damaged, names a file elsewhere, or the tokenizer beside it is another one.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return None
    inside(folder, path)
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("it is too long")
        content = json.loads(path.read_text(encoding="utf-8"))
        description = _of(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)
        raise DataError(f"{path} is damaged ({reason[:80]}): prepare the data again") from None
    for name in description.shards:
        if not name or Path(name).name != name or name == ".." or "\\" in name or "\0" in name:
            raise DataError(
                f"{path} names a shard {name!r}, which leads out of the folder: prepare the data again"
            )
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise DataError(f"{tokenizer} is missing, but {path.name} names a tokenizer: copy it too")
    inside(folder, tokenizer)
    with tokenizer.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != description.tokenizer_sha256:
            raise DataError(f"{tokenizer} is not the tokenizer that made these shards: prepare the data again")
    return description


def inside(folder: Path, path: Path) -> None:
    """Raise a DataError where a path of a folder is a link that leads out of it."""
    try:
        leads_out = not path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError):  # a link to nothing, or to itself
        raise DataError(f"{path} is a link that leads nowhere: copy the file itself there") from None
    if leads_out:
        raise DataError(f"{path} is a link that leads out of the folder: copy the file itself there")


def _of(content: object) -> Description:
    """A description from somebody's JSON."""
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    name, vocab, shards = content.get("name", ""), content.get("vocab"), content.get("shards")
    tokenizer = content.get("tokenizer_sha256")
    if not isinstance(name, str):
        raise ValueError("its name is no text")
    if type(vocab) is not int or vocab < 1:
        raise ValueError("its vocab is no whole number of at least 1")
    if not isinstance(tokenizer, str):
        raise ValueError("its tokenizer_sha256 is no text")
    if not isinstance(shards, dict) or not all(isinstance(sha, str) for sha in shards.values()):
        raise ValueError("its shards are no sha256 by name")
    return Description(name=name, vocab=vocab, tokenizer_sha256=tokenizer, shards=shards)
