"""tensors.json of a sharded state: types and whole shapes of its tensors, and how many files hold them.

Needs no torch. `shard_files.py` explains the files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.train.checkpoint.tensor_file import BITS

INDEX = "tensors.json"

_MAX_SHARDS = 99_999
"""A file's name has five digits for its number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """What a sharded state contains.

    Attributes:
        shards: number of files.
        tensors: type, as safetensors calls it, and whole shape, by name.
    """

    shards: int
    tensors: dict[str, tuple[str, tuple[int, ...]]]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files, in the order of the rows that they hold."""
        return tuple(shard_name(number, self.shards) for number in range(self.shards))


def shard_name(index: int, count: int) -> str:
    """The name of the file of one of `count` processes."""
    return f"shard-{index + 1:05}-of-{count:05}.safetensors"


def write_index(path: Path, index: Index) -> None:
    """Write tensors.json."""
    tensors = {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in sorted(index.tensors.items())}
    content = durable.sealed({"shards": index.shards, "tensors": tensors})
    durable.write(path, content)
    durable.check_size(path, len(content))
    durable.fsync(path)


def read_index(path: Path) -> Index:
    """Read tensors.json.

    Raises:
        DamagedError: it is not what `write_index` writes.
        FileNotFoundError: there is none.
    """
    content = durable.read_json(path)
    if content is None:
        raise FileNotFoundError(f"{path} is missing")
    try:
        shards = content["shards"]
        if type(shards) is not int or not 1 <= shards <= _MAX_SHARDS:
            raise ValueError(f"{shards!r} shards")
        return Index(
            shards=shards, tensors={name: _parse_entry(entry) for name, entry in content["tensors"].items()}
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise durable.DamagedError(f"{path} is damaged: {error}") from None


def _parse_entry(entry: Any) -> tuple[str, tuple[int, ...]]:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if dtype not in BITS or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{dtype} of shape {list(shape)}")
    return dtype, shape
