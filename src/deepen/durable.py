"""Files that are whole or not there, and files that say when they are damaged.

Whatever must outlive a kill, a power cut or a full disk is written here: to a temporary name, made durable
(fsync), renamed into place, and the folder made durable too. JSON carries a *seal*, the sha256 of its own
content, so that a flipped bit that still parses is found out.

The five primitives at the top are all that touches the disk for good; tests replace them to make disks fail and
processes die.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEAL = "sha256"
"""The key of a JSON file that holds the sha256 of all the others."""


class DamagedError(ValueError):
    """A file that is there and cannot be believed; the message names the file and the reason."""


def write(path: Path, content: bytes, mode: str = "wb") -> None:
    """Put bytes into a file (`ab`: at its end). Primitive: not durable, not whole after a kill."""
    with path.open(mode) as file:
        file.write(content)


def save_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write a safetensors file. Primitive: not durable, not whole after a kill."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file  # imports torch, which readers of JSON do without

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:  # it wraps what the system said, such as a full disk
        raise OSError(str(error)) from None


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable. Primitive."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(old: Path, new: Path) -> None:
    """Give a file or folder another name, in place of a file that has it. Primitive: durable with its folder."""
    old.replace(new)


def remove(folder: Path) -> None:
    """Remove a folder and all in it, as far as it lets itself. Primitive: a kill leaves half of it."""
    shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that, whatever happens, it is the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary, content)
        check_size(temporary, len(content))
        fsync(temporary)
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk its bytes are wanted
        raise
    fsync(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write sealed JSON so that the file is always whole: the old or the new one."""
    write_whole(path, sealed(value))


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file. Durable only after an `fsync`: a log may lose its tail, if no state needs it."""
    before = path.stat().st_size if path.exists() else 0
    write(path, content, "ab")
    check_size(path, before + len(content))


def check_size(path: Path, expected: int) -> None:
    """Raise an OSError where fewer (or more) bytes arrived than were written, as on some network disks."""
    if (found := path.stat().st_size) != expected:
        raise OSError(f"{path}: {expected:,} bytes were written and {found:,} arrived")


def remove_folder(folder: Path) -> None:
    """Remove a folder so that, whatever happens, it is whole under its name or not there.

    What a kill leaves of it has the suffix `.gone`, and goes with the next folder that is removed beside it.
    """
    gone = folder.with_suffix(".gone")
    if gone.exists():
        remove(gone)
    if folder.exists():
        rename(folder, gone)
        remove(gone)


def sealed(value: Mapping[str, Any]) -> bytes:
    """JSON with its seal, in place of one that was read with it."""
    content = {key: entry for key, entry in value.items() if key != SEAL}
    return json.dumps({**content, SEAL: _seal(content)}, indent=1).encode()


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a sealed JSON file without its seal, None where there is no file.

    A file without a seal is believed: deepen 0.1 wrote such, and people may.

    Raises:
        DamagedError: it cannot be read, is no JSON object, or is not what was sealed.
    """
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: it is not a JSON object")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != _seal(value):
        raise DamagedError(f"{path} is damaged: its content is not what was sealed in it")
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
    """Of the content rather than the text: keys sorted, numbers as JSON reads them back."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
