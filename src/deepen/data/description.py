"""dataset.json: the shards and the tokenizer of a prepared dataset, each with its sha256.

    {"name": "sotu", "vocab": 1024, "tokenizer_sha256": "9f…",
     "shards": {"sotu_train_000000.bin": "4c…", "sotu_val_000000.bin": "e1…"}}

The file may come from anywhere, so everything in it is checked before use. The files may be links to elsewhere, as
the Hugging Face cache makes them: what they lead to is checked by its content.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepen.data.errors import DataError, unreadable
from deepen.data.tokenizer_files import find_tokenizer, hash_tokenizer

FILE = "dataset.json"
_MAX_FILE_BYTES = 1 << 24
"""Longer descriptions are refused; a description of a thousand shards has a tenth of a megabyte."""


_CHECKED = ("name", "vocab", "tokenizer_sha256", "shards")


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """The content of dataset.json.

    Attributes:
        shards: the sha256 of each shard, by the name of its file.
        notes: everything else, for people: counts, source, licence, settings.
    """

    name: str
    vocab: int
    tokenizer_sha256: str
    shards: Mapping[str, str]
    notes: Mapping[str, Any] = field(default_factory=dict)


def read_description(folder: Path) -> Description | None:
    """The description in a folder; None if there is none.

    Raises:
        DataError: it is damaged, names a file outside the folder, or describes a different tokenizer.
        OSError: the tokenizer cannot be read.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return None
    description = _read(path)
    for name in description.shards:
        if not name or Path(name).name != name or name == ".." or "\\" in name or "\0" in name:
            raise DataError(
                f"{path} names a shard {name!r}, which leads out of the folder",
                value=path,
                remedy="prepare the data again",
            )
    _check_tokenizer(folder, description)
    return description


def _read(path: Path) -> Description:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("it is too long")
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise unreadable(str(path), path, error) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        reason = "it is not JSON"
    except (ValueError, RecursionError) as error:
        reason = str(error)[:80]
    raise DataError(f"{path} is damaged ({reason})", value=path, remedy="prepare the data again")


def _parse(content: object) -> Description:
    if not isinstance(content, dict):
        raise ValueError("it is not an object")
    name, vocab, shards = content.get("name", ""), content.get("vocab"), content.get("shards")
    tokenizer_sha256 = content.get("tokenizer_sha256")
    if not isinstance(name, str):
        raise ValueError("its name is not text")
    if type(vocab) is not int or vocab < 1:
        raise ValueError("its vocab is not a whole number of at least 1")
    if not isinstance(tokenizer_sha256, str):
        raise ValueError("its tokenizer_sha256 is not text")
    if not isinstance(shards, dict) or not all(isinstance(sha256, str) for sha256 in shards.values()):
        raise ValueError("its shards are not an object of sha256 by name")
    notes = {key: entry for key, entry in content.items() if key not in _CHECKED}
    return Description(name=name, vocab=vocab, tokenizer_sha256=tokenizer_sha256, shards=shards, notes=notes)


def _check_tokenizer(folder: Path, description: Description) -> None:
    paths = find_tokenizer(folder)
    path = paths[0] if paths else folder / "tokenizer.json"
    if not paths:
        raise DataError(f"{path} is missing, but {FILE} names a tokenizer", value=path, remedy="copy it too")
    if hash_tokenizer(folder) != description.tokenizer_sha256:
        raise DataError(
            f"{path} is not the tokenizer that made these shards", value=path, remedy="prepare the data again"
        )
