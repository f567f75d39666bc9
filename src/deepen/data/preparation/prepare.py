"""Prepare a source: the whole flow, from text to a folder of shards.

    prepare(PreparationSettings(source="books.jsonl.gz", tokenizer="gpt2"), Path("data/books"), workers=8)

Until all is done, everything is in `FOLDER.unfinished` beside the folder. The folder appears when it is complete.
A preparation that was interrupted continues when it is asked for again.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from deepen import durable
from deepen.data.description import FILE
from deepen.data.errors import DataError
from deepen.data.overlap import PASSAGE_WORDS
from deepen.data.preparation.blocks import Source
from deepen.data.preparation.finish import SPLIT_FATES, make_name, write_shards
from deepen.data.preparation.settings import TOKENIZING, OnProgress, PreparationProgress, PreparationSettings
from deepen.data.preparation.sources.open import is_on_hub, open_source
from deepen.data.preparation.splits import Fate, drop_overlap, hold_out
from deepen.data.preparation.spool import SAVE_EVERY_SECONDS, Progress, Spool, has_begun, read_progress
from deepen.data.preparation.tokenizer import TRAIN, choose_tokenizer, find_separator
from deepen.data.preparation.worker import Encoder
from deepen.data.preparation.workers import encode_blocks
from deepen.data.tokenizers import load_tokenizer, make_tokenizer
from deepen.errors import InvalidValueError

_log = logging.getLogger(__name__)

MAX_UINT16_VOCAB = 65536
MIN_SHARE = 0.01
"""The share of the source from which the size of the rest is estimated."""

MANY_DROPPED = 0.1
"""A warning is logged if a larger share of the documents is dropped because of shared passages."""

_VERSION = 1
"""Increased when the same text gives other tokens than before, so that an old preparation does not continue."""


def prepare(
    preparation: PreparationSettings,
    folder: Path,
    workers: int = 1,
    on_progress: OnProgress = lambda progress: None,
    save_every: float = SAVE_EVERY_SECONDS,
) -> Mapping[str, Any]:
    """Prepare a source, or continue where an earlier call was interrupted.

    Args:
        preparation: what is to be prepared.
        folder: the folder of the dataset, which appears when it is complete.
        workers: processes that tokenize. The result does not depend on their number. A script that asks for
            several must call this below `if __name__ == "__main__":`, because they import it.
        on_progress: receives progress, several times a second.
        save_every: seconds between two times at which progress is saved.

    Returns:
        The content of dataset.json.

    Raises:
        InvalidValueError: the source, the tokenizer or an option cannot be used, or the folder is in use.
        RunError: a worker process died, or the Hub could not be reached any more.
    """
    if finished := _read_finished(preparation, folder):
        return finished
    durable.check_new_folder(folder, "out")
    unfinished = folder.resolve().with_name(f"{folder.resolve().name}.unfinished")
    source = _open_source(preparation)
    with _lock(unfinished):
        spool, encoder = _open_spool(preparation, source, unfinished, save_every, on_progress)
        _encode_source(preparation, source, encoder, spool, workers, on_progress)
        content = _finish(preparation, source, encoder, spool, folder, on_progress)
        durable.remove_folder(unfinished)
    return content


def _read_finished(preparation: PreparationSettings, folder: Path) -> Mapping[str, Any] | None:
    """dataset.json of a folder, if the same preparation has made it of the same files with the same tokenizer."""
    try:
        content = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("preparation") != _settings(preparation):
        return None
    choice = preparation.tokenizer
    if Path(choice).exists() and make_tokenizer(choice).in_one_file().sha256 != content.get("tokenizer_sha256"):
        return None
    if is_on_hub(preparation.source) or not Path(preparation.source).exists():
        return content
    source = _open_source(preparation)
    found = (content.get("source"), content.get("source_identity", source.identity))
    return content if found == (source.description, source.identity) else None


def _open_source(preparation: PreparationSettings) -> Source:
    return open_source(preparation.source, preparation.text_column, preparation.split_at)


def _settings(preparation: PreparationSettings) -> dict[str, Any]:
    """The settings that dataset.json records."""
    settings = asdict(preparation)
    return {name: value for name, value in settings.items() if name not in ("licence", "strict")}


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other commands out of an unfinished preparation; remove it after an error that leaves it no use."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            try:
                yield
            except BaseException as error:
                if not has_begun(folder) or (isinstance(error, InvalidValueError) and error.field == "source"):
                    durable.remove(folder)
                raise
    except Timeout:
        raise InvalidValueError(
            f"{folder} is in use by another command",
            field="out",
            value=str(folder),
            remedy="wait until it ends, or name another folder",
        ) from None


def _open_spool(
    preparation: PreparationSettings, source: Source, folder: Path, save_every: float, on_progress: OnProgress
) -> tuple[Spool, Encoder]:
    """The files of the preparation, as an earlier call left them or empty, and the encoder that continues them."""
    progress, is_trained = read_progress(folder), preparation.tokenizer.startswith(TRAIN)
    if progress and is_trained:
        tokenizer = load_tokenizer(folder)
    else:
        tokenizer = choose_tokenizer(
            preparation.tokenizer,
            source,
            lambda what, share: on_progress(PreparationProgress(what=what, share=share, documents=0, tokens=0)),
        )
    separator = find_separator(tokenizer, preparation.separator)
    request = {
        "version": _VERSION,
        "source": source.identity,
        "tokenizer": preparation.tokenizer if is_trained else tokenizer.sha256,
        "separator": separator,
    }
    if progress and progress.request != request:
        names = " and ".join(name for name in request if progress.request.get(name) != request[name])
        raise InvalidValueError(
            f"{folder} is an unfinished preparation with another {names}",
            field="out",
            value=str(folder),
            remedy="remove it, or name another folder",
        )
    if not progress:
        tokenizer.write(folder)
    dtype = "<u2" if tokenizer.vocab <= MAX_UINT16_VOCAB else "<u4"
    return Spool(folder, request, dtype, save_every), Encoder(
        tokenizer=tokenizer, separator=separator, dtype=dtype
    )


def _encode_source(
    preparation: PreparationSettings,
    source: Source,
    encoder: Encoder,
    spool: Spool,
    workers: int,
    on_progress: OnProgress,
) -> None:
    """Encode what of the source is not encoded yet."""
    progress = spool.progress
    if preparation.strict and progress.first_problem:
        raise _damaged(progress.first_problem)
    if not progress.is_read:
        space_is_checked = False
        for placed, encoded in encode_blocks(encoder, source.blocks(progress.after), workers):
            if preparation.strict and encoded.first_problem:
                raise _damaged(str(encoded.first_problem))
            spool.add(encoded, placed.after, placed.share)
            on_progress(_report(TOKENIZING, placed.share, progress))
            if not space_is_checked and (placed.share or 0.0) >= MIN_SHARE:
                _check_space(spool)
                space_is_checked = True
        progress.is_read = True
        spool.save()
    if not progress.documents:
        problem = f"has no text that can be used: {progress.first_problem}" if progress.damaged else "has no text"
        raise DataError(problem, field="source", value=preparation.source, remedy="name another one")
    if progress.damaged:
        _log.warning("%s; the first: %s", _count(progress.damaged), progress.first_problem)


def _check_space(spool: Spool) -> None:
    """Log a warning if the disk will be full before the end."""
    needed, free = spool.estimate_space(), shutil.disk_usage(spool.folder).free
    if needed > free:
        _log.warning(
            "about %.1f GB more are needed, and %.1f GB are free: free some space; if the disk gets full, the "
            "same command continues later",
            needed / 1e9,
            free / 1e9,
        )


def _finish(
    preparation: PreparationSettings,
    source: Source,
    encoder: Encoder,
    spool: Spool,
    folder: Path,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Write the folder of the dataset; returns the content of dataset.json."""

    def on_preparation(what: str, share: float | None) -> None:
        on_progress(_report(what, share, spool.progress))

    documents = spool.documents
    fates = hold_out(documents, preparation.val_tokens, keep_duplicates=preparation.keep_duplicates)
    if not preparation.keep_overlap:
        drop_overlap(spool, encoder, fates, on_preparation)
    _check_rest(fates)
    name = make_name(folder)
    with durable.new_folder(folder) as temporary:
        shards = write_shards(spool, temporary, name, fates, preparation.shard_tokens, on_preparation)
        encoder.tokenizer.write(temporary)
        content = {
            "name": name,
            "vocab": encoder.tokenizer.vocab,
            "dtype": np.dtype(encoder.dtype).name,
            "tokenizer_sha256": encoder.tokenizer.sha256,
            "shards": shards,
            "tokens": {
                split: int(documents["tokens"][fates == fate].sum()) for split, fate in SPLIT_FATES.items()
            },
            "documents": {split: int((fates == fate).sum()) for split, fate in SPLIT_FATES.items()},
            "dropped": {
                "duplicates": int((fates == Fate.DUPLICATE).sum()),
                f"sharing {PASSAGE_WORDS} words": int((fates == Fate.OVERLAP).sum()),
                "empty": spool.progress.empty,
                "damaged": spool.progress.damaged,
            },
            "source": source.description,
            "source_identity": source.identity,
            "licence": preparation.licence or source.licence,
            "licences": {name: count for name, count in sorted(spool.progress.licences.items()) if name},
            "preparation": _settings(preparation),
        }
        text = json.dumps(content, indent=2, ensure_ascii=False)
        # Half a surrogate pair, as in a path that is not UTF-8, becomes its escape in JSON.
        durable.write_whole(temporary / FILE, text.encode(errors="backslashreplace"))
    return content


def _check_rest(fates: NDArray[np.uint8]) -> None:
    dropped, trained = int((fates == Fate.OVERLAP).sum()), int((fates == Fate.TRAIN).sum())
    if not trained:
        raise DataError(
            f"holds out documents that share {PASSAGE_WORDS} words with every other one",
            field="val_tokens",
            remedy="remove what all documents repeat, or use `keep_overlap`",
        )
    if dropped > MANY_DROPPED * (dropped + trained):
        _log.warning(
            "%s of %s documents are dropped because they share %d words with a held-out one, perhaps a text "
            "that many documents contain",
            f"{dropped:,}",
            f"{dropped + trained:,}",
            PASSAGE_WORDS,
        )


def _damaged(problem: str) -> DataError:
    return DataError(problem, remedy="correct or remove it, or leave out `strict`")


def _report(what: str, share: float | None, progress: Progress) -> PreparationProgress:
    return PreparationProgress(what=what, share=share, documents=progress.documents, tokens=progress.tokens)


def _count(damaged: int) -> str:
    if damaged == 1:
        return "1 record or file cannot be used and is left out"
    return f"{damaged:,} records or files cannot be used and are left out"
