"""The user's cache of prepared data, which any number of studies and processes share.

    ~/.cache/deepen/                        or the folder that DEEPEN_CACHE names
        sotu-1024-3f9c…/                    an entry: the files of a dataset
            entry.json                      the sha256 of each of them, sealed
            dataset.json, tokenizer.json, sotu_train_000000.bin, sotu_val_000000.bin

The name of an entry is a hash of everything that its content depends on. An entry is written under a temporary
name and renamed, so it is complete or absent; of several processes, the first one wins. Files are copied, not
linked, so nothing that is done to a study's data changes the cache. The folder may be deleted at any time. If it
cannot be read or written, or its disk is full, data is prepared without it.
"""

import hashlib
import logging
import os
import shutil
import uuid
from pathlib import Path

from platformdirs import user_cache_path

from deepen import durable

_INDEX = "entry.json"
_log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """The folder that the environment variable DEEPEN_CACHE names, or the system's place for a user's caches.

    None for a user without a home, as in a container with any user id.
    """
    if named := os.environ.get("DEEPEN_CACHE"):
        return Path(named)
    try:
        return user_cache_path("deepen")
    except RuntimeError:
        return None


def fetch(entry: str, folder: Path) -> bool:
    """Copy an entry's files to a folder, in the order in which they were stored.

    Returns:
        Whether the files are there now; False if there is no such entry, or it is damaged.
    """
    if (cache := cache_folder()) is None:
        return False
    source = cache / entry
    try:
        index = durable.read_json(source / _INDEX)
        if index is None:
            return False
        contents = {name: (source / name).read_bytes() for name in index["files"]}
        if any(hashlib.sha256(contents[name]).hexdigest() != sha256 for name, sha256 in index["files"].items()):
            raise durable.DamagedError(f"{source} is damaged")
    except durable.DamagedError as error:
        _log.warning("%s: it is removed, and the data prepared again", error)
        shutil.rmtree(source, ignore_errors=True)
        return False
    except OSError as error:
        _log.debug("the cache is not used: %s", error)
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        durable.write_whole(folder / name, content)
    return True


def store(entry: str, folder: Path, names: list[str]) -> None:
    """Copy files of a folder to a new entry, or leave the cache as it is if that is not possible."""
    if (cache := cache_folder()) is None:
        return
    temporary = cache / f"{entry}.{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        for name in names:
            shutil.copyfile(folder / name, temporary / name)
        durable.write_json(
            temporary / _INDEX, {"files": {name: durable.sha256(temporary / name) for name in names}}
        )
        durable.rename(temporary, cache / entry)  # fails if another process was first
    except OSError as error:
        _log.debug("the cache stays as it is: %s", error)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
