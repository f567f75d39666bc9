"""Find the shards of a folder, and check them against dataset.json, the vocabulary and the tokenizer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from deepen.data.description import FILE, Description
from deepen.data.errors import DataError
from deepen.data.known_shards import examine_known
from deepen.data.shard_file import Shard
from deepen.data.shard_formats import SUFFIXES
from deepen.data.tokenizers import Tokenizer

SPLITS = {"train": "train", "validation": "val"}
"""For each split, what the names of its shards contain."""


def find_shards(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The shards of each split.

    Raises:
        DataError: there is no such folder, a split has no shard, or a name fits both splits.
    """
    if not folder.is_dir():
        raise DataError(
            f"folder {folder} {'is a file' if folder.exists() else 'does not exist'}",
            field="data",
            value=folder,
            remedy="name a folder of token shards",
        )
    splits = {split: tuple(sorted(_find_split(folder, part))) for split, part in SPLITS.items()}
    if both := set(splits["train"]) & set(splits["validation"]):
        raise DataError(f"shard {min(both)} is named both train and val", value=min(both), remedy="rename it")
    for split, part in SPLITS.items():
        if not splits[split]:
            raise DataError(
                f"folder {folder} has no shard named *{part}*.bin or *{part}*.npy",
                field="data",
                value=folder,
                remedy=_remedy_without_shards(folder),
            )
    return splits


def _find_split(folder: Path, part: str) -> Iterator[Path]:
    """The shards in a folder whose names contain `part`, and all shards in its folders with such names."""
    for path in folder.glob(f"*{part}*"):
        if not path.name.startswith("."):
            paths = path.iterdir() if path.is_dir() and path.suffix not in SUFFIXES else [path]
            yield from (each for each in paths if each.suffix in SUFFIXES and not each.name.startswith("."))


def _remedy_without_shards(folder: Path) -> str:
    has_text = any(path.suffix in (".parquet", ".jsonl", ".gz", ".zst", ".txt") for path in folder.iterdir())
    return "tokenize its text first" if has_text else "prepare or copy one"


def check_vocabulary(folder: Path, description: Description, vocab: int) -> None:
    """Raise a DataError if a dataset has a larger vocabulary than the model."""
    if description.vocab > vocab:
        raise DataError(
            f"in {folder} has a vocabulary of {description.vocab:,}, the model only {vocab:,}",
            field="data",
            value=folder,
            remedy=f"use `vocab` {description.vocab}, or data of the model's tokenizer",
        )


def check_shard(
    path: Path,
    description: Description | None,
    vocab: int,
    dtype: str | None,
    on_bytes: Callable[[int], None],
    *,
    read_again: bool = False,
) -> Shard:
    """Examine a shard; raises a DataError if dataset.json describes another, or a token is outside the vocabulary.

    Args:
        path: the file.
        description: the content of dataset.json; None if there is none.
        vocab: vocabulary of the model, which counts where there is no description.
        dtype, on_bytes, read_again: as for `examine_known`.
    """
    shard = examine_known(path, dtype, on_bytes, read_again=read_again)
    if description and shard.sha256 != description.shards[path.name]:
        problem = f"shard {path} is not the one that {FILE} describes"
        raise DataError(problem, value=path, remedy="prepare the data again")
    limit = description.vocab if description else vocab
    if shard.highest >= limit:
        whose = f"{FILE}'s" if description else "the model's"
        remedy = (
            f"prepare the data again, or correct {FILE}"
            if description
            else "use a model whose vocab is the tokenizer's, or data of a smaller tokenizer"
        )
        raise DataError(
            f"shard {path} has token {shard.highest}, {whose} vocabulary ends at {limit - 1}",
            value=path,
            remedy=remedy,
        )
    return shard


def compare_names(folder: Path, found: set[str], described: set[str]) -> Iterator[DataError]:
    """An error for each shard that is missing, and for each that dataset.json does not describe."""
    for name in sorted(described - found):
        path = folder / name
        yield DataError(f"shard {path} is missing, but {FILE} names it", value=path, remedy="copy it too")
    for name in sorted(found - described):
        path = folder / name
        yield DataError(f"shard {path} is not among those of {FILE}", value=path, remedy="move it away")


def check_tokenizer(tokenizer: Tokenizer, name: str, shards: Sequence[Shard]) -> None:
    """Raise a DataError if a shard has a token that the tokenizer does not have."""
    for shard in shards:
        if shard.highest >= tokenizer.vocab:
            raise DataError(
                f"shard {shard.path} has token {shard.highest}, tokenizer {name} ends at {tokenizer.vocab - 1}",
                value=shard.path,
                remedy="use the tokenizer that made the shards",
            )


def check_held_out(folder: Path, shards: Mapping[str, Sequence[Shard]]) -> None:
    """Raise a DataError if a shard is in both splits."""
    trained = {shard.sha256: shard for shard in shards["train"]}
    for held_out in shards["validation"]:
        if held_out.sha256 in trained:
            raise DataError(
                f"shards {trained[held_out.sha256].path.name} and {held_out.path.name} in {folder} are the same: "
                "the validation set would be trained on",
                value=folder,
                remedy="hold other data out",
            )
