"""Durable files: written as a whole or not at all, with damage detected when they are read.

Files that must survive a kill, a power cut or a full disk are written here: under a temporary name, made durable
(fsync), renamed, and then the folder is made durable too. JSON files contain a *seal*, the sha256 of their own
content, so that a flipped bit is detected even if the file still parses.

    write_json(path, {"tokens": 64})     # {"tokens": 64, "sha256": "5f…"}, through path.tmp
    read_json(path)                      # {"tokens": 64}; a DamagedError if the seal does not match

Everything that changes the disk goes through the five primitives at the top. Tests replace them to simulate disks
that fail and processes that die half way.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepen.errors import InvalidValueError

SEAL = "sha256"
"""The key of a JSON file that holds the sha256 of all the others."""


class DamagedError(ValueError):
    """A file that exists but cannot be used; the message names the file and the reason."""


def write(path: Path, content: bytes | memoryview, mode: str = "wb") -> None:
    """Write bytes to a file (mode `ab`: at its end). Primitive: a kill can leave a part of them."""
    with path.open(mode) as file:
        file.write(content)


def save_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write a safetensors file. Primitive: a kill can leave a part of it."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file  # imports torch, which reading JSON does not need

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:  # it wraps the system's error, such as a full disk
        raise system_error(error, path) from None


def system_error(error: Exception, path: Path) -> OSError:
    """The system's error in the text of an error of the safetensors library, `... (os error 28)`."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is None:
        return OSError(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable. Primitive."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(old: Path, new: Path) -> None:
    """Rename a file or folder, replacing a file of that name. Primitive: durable after `fsync` of the folder."""
    old.replace(new)


def remove(folder: Path) -> None:
    """Remove a folder with its content, as far as possible. Primitive: a kill can leave a part of it."""
    shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader always finds the old content or the new."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary, content)
        check_size(temporary, len(content))
        fsync(temporary)
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk, its bytes are needed
        raise
    fsync(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write sealed JSON so that a reader always finds the old content or the new."""
    write_whole(path, sealed(value))


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder that appears under its name only when it is complete.

        with new_folder(out) as temporary:
            write(temporary / "config.json", content)

    The block writes into the yielded folder beside it. At its end each file is made durable and the folder gets
    its name; after an error it is removed. What a kill left there is removed by the next call.

    Args:
        folder: must not exist, or must be empty (`check_new_folder`).
    """
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.unfinished")  # nobody's own folder is called so
    remove_folder(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            fsync(path)
        fsync(temporary)
        rename(temporary, folder)
    except BaseException:
        remove(temporary)  # on a full disk, its bytes are needed
        raise
    fsync(folder.parent)


def check_new_folder(folder: Path, field: str) -> None:
    """Check that a folder can be written by `new_folder`.

    Args:
        folder: the folder.
        field: how a user calls it.

    Raises:
        InvalidValueError: it has content, is a file, or lies in a folder that cannot be written to.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidValueError(
            f"{folder} is in use: it has content", field=field, value=str(folder), remedy="name a new folder"
        )
    above = nearest_existing(folder.absolute())
    if not above.is_dir():
        raise InvalidValueError(
            f"{folder} is not a folder: {above} is a file",
            field=field,
            value=str(folder),
            remedy="name a new folder",
        )
    beside = nearest_existing(folder.resolve().parent)
    if not os.access(beside, os.W_OK):
        raise InvalidValueError(
            f"{folder} cannot be written: no permission in {beside}", field=field, value=str(folder)
        )
    check_name(folder, field)


def check_name(path: Path, field: str) -> None:
    """Raise an InvalidValueError unless a path is UTF-8, as the safetensors library needs."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="replace")
        raise InvalidValueError(
            f"{shown} has a name that is not UTF-8", field=field, value=shown, remedy="rename it"
        ) from None


def append(path: Path, content: bytes) -> None:
    """Append to a file. The lines are durable only after an `fsync`: a log may lose lines that no state needs."""
    before = path.stat().st_size if path.exists() else 0
    write(path, content, "ab")
    check_size(path, before + len(content))


def check_size(path: Path, expected: int) -> None:
    """Raise an OSError if a file has another size than was written, as happens on some network disks."""
    if (found := path.stat().st_size) != expected:
        raise OSError(f"{path}: {expected:,} bytes were written and {found:,} arrived")


def nearest_existing(path: Path) -> Path:
    """A path if it exists, else the nearest folder above it that does."""
    return next(each for each in (path, *path.parents) if each.exists())


def remove_folder(folder: Path) -> None:
    """Remove a folder so that it is either complete under its name or absent.

    It is renamed with the suffix `.gone` first. If a kill leaves a part of it, the next call removes that.
    """
    gone = folder.with_suffix(".gone")
    if gone.exists():
        remove(gone)
    if folder.exists():
        rename(folder, gone)
        remove(gone)


def sealed(value: Mapping[str, Any]) -> bytes:
    """Encode an object as JSON with a seal, replacing a seal that it already has."""
    content = {key: entry for key, entry in value.items() if key != SEAL}
    return json.dumps({**content, SEAL: _seal(content)}, indent=1).encode()


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a sealed JSON file without its seal; None if the file does not exist.

    A file without a seal is accepted, because files written by hand have none.

    Raises:
        DamagedError: it is not a JSON object, or does not match its seal.
        OSError: it cannot be read now, which says nothing about its content.
    """
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: it is not a JSON object")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != _seal(value):
        raise DamagedError(f"{path} is damaged: its content does not match its seal")
    return value


def sha256(path: Path, size: int | None = None) -> str:
    """The sha256 of a file, or of its first `size` bytes."""
    digest = hashlib.sha256()
    left = path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _seal(value: Mapping[str, Any]) -> str:
    """The hash of the content, independent of the order of keys and of white space."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
