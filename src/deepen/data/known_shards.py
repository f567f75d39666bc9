"""What large shards contain, remembered in the user's cache, so that a command need not read them all again.

    ~/.cache/deepen/shards/5f3a….json     by the path of a shard: its size, times and inode, sha256, highest token

Reading the 20 GB of 10 billion tokens takes a minute. A file whose size, times and inode are as they were has the
content that it had: what git's index relies on, too. `deepen data verify` reads every byte all the same.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.data.cache import cache_folder
from deepen.data.shard_file import Shard, examine_shard
from deepen.data.shard_formats import TokenLayout, read_layout

MIN_BYTES = 1 << 24
"""Smaller shards are read each time, which takes milliseconds."""

MIN_AGE_SECONDS = 2.0
"""A file that was changed just now may be changed again within the resolution of its times."""

_log = logging.getLogger(__name__)


def examine_known(
    path: Path,
    dtype: str | None = None,
    on_bytes: Callable[[int], None] = lambda count: None,
    *,
    read_again: bool = False,
    min_bytes: int = MIN_BYTES,
    min_age_seconds: float = MIN_AGE_SECONDS,
) -> Shard:
    """As `examine_shard`, but a large file that is remembered and unchanged is not read.

    Args:
        path, dtype, on_bytes: as for `examine_shard`.
        read_again: read the file even if it is remembered.
        min_bytes, min_age_seconds: size and age from which a file is remembered.
    """
    layout = read_layout(path, dtype)
    if layout.file_bytes < min_bytes:
        return examine_shard(path, dtype, on_bytes)
    if not read_again and (shard := _recall(path, layout)):
        on_bytes(layout.file_bytes)
        return shard
    before = path.stat()
    shard = examine_shard(path, dtype, on_bytes)
    is_old = time.time() - before.st_ctime >= min_age_seconds
    if is_old and _describe(before) == _describe(path.stat()):
        _remember(shard, before)
    return shard


def _recall(path: Path, layout: TokenLayout) -> Shard | None:
    if (entry := _entry(path)) is None:
        return None
    try:
        known, status = durable.read_json(entry), path.stat()
        if known is None or known["file"] != _describe(status) or known["dtype"] != layout.dtype:
            return None
        return Shard(
            path=path,
            layout=layout,
            sha256=known["content"],
            highest=known["highest"],
            modified_ns=status.st_mtime_ns,
        )
    except (durable.DamagedError, KeyError, OSError):
        return None


def _remember(shard: Shard, status: os.stat_result) -> None:
    if (entry := _entry(shard.path)) is None:
        return
    content = {
        "file": _describe(status),
        "dtype": shard.layout.dtype,
        "content": shard.sha256,
        "highest": shard.highest,
    }
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        durable.write(entry, durable.sealed(content))  # the seal shows whether it is complete
    except OSError as error:
        _log.debug("shard %s is not remembered: %s", shard.path, error)


def _entry(path: Path) -> Path | None:
    """The file that remembers a shard; None where there is no cache."""
    cache = cache_folder()
    if cache is None:
        return None
    return cache / "shards" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"


def _describe(status: os.stat_result) -> list[Any]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
