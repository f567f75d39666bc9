"""Verify a folder of shards: read every byte and report everything that is wrong, not only the first.

`open_dataset` raises the first problem that it finds, and does not read large shards again that it knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepen.data.description import Description, read_description
from deepen.data.errors import unreadable
from deepen.data.shard_checks import check_held_out, check_shard, check_tokenizer, compare_names, find_shards
from deepen.data.shard_file import Shard
from deepen.data.shards import OnPreparation
from deepen.data.tokenizers import Tokenizer, make_folder_tokenizer
from deepen.errors import ErrorCollector


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What is in a folder of shards, and what is wrong with it.

    Attributes:
        shards: those of each split that can be read.
        description: the content of dataset.json; None if there is none, or it is damaged.
        tokenizer: the tokenizer; None if there is none, or it cannot be read.
        problems: every problem.
    """

    shards: Mapping[str, Sequence[Shard]]
    description: Description | None
    tokenizer: Tokenizer | None
    problems: tuple[ValueError, ...]


def verify_dataset(
    folder: Path,
    on_progress: OnPreparation = lambda what, share: None,
    *,
    dtype: str | None = None,
    tokenizer: str = "",
) -> Verification:
    """Read every byte of a folder of shards.

    Args:
        folder: the folder.
        on_progress: receives what is done, and its share that is done.
        dtype, tokenizer: as for `open_dataset`.

    Raises:
        DataError: it is not a folder of shards.
    """
    problems = ErrorCollector()
    try:
        paths = find_shards(folder)
        every_path = [path for split_paths in paths.values() for path in split_paths]
        total, read = max(1, sum(path.stat().st_size for path in every_path if path.exists())), 0
        description = problems.attempt(lambda: read_description(folder))
        found_tokenizer = problems.attempt(lambda: make_folder_tokenizer(folder, tokenizer))
    except OSError as error:
        raise unreadable(f"folder {folder}", folder, error) from None
    described = description.shards if description else {}
    if description:
        for missing in compare_names(folder, {path.name for path in every_path}, set(described)):
            problems.add(missing)

    def on_bytes(count: int) -> None:
        nonlocal read
        read += count
        on_progress(f"reading {folder}", min(1.0, read / total))

    def check(path: Path) -> Shard:
        own = description if path.name in described else None
        shard = check_shard(path, own, 2**32, dtype, on_bytes, read_again=True)
        if found_tokenizer:
            check_tokenizer(found_tokenizer, tokenizer or str(folder), [shard])
        return shard

    found: dict[str, list[Shard]] = {split: [] for split in paths}
    for split, split_paths in paths.items():
        for path in split_paths:
            if shard := problems.attempt(lambda path=path: check(path)):  # type: ignore[misc]
                found[split].append(shard)
    problems.attempt(lambda: check_held_out(folder, found))
    return Verification(shards=found, description=description, tokenizer=found_tokenizer, problems=problems.errors)
