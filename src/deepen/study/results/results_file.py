"""Reading and writing results.json in a study's folder."""

import logging
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.errors import InvalidValueError
from deepen.study.results.schema import SCHEMA_VERSION, Results

RESULTS_FILE = "results.json"

_log = logging.getLogger(__name__)


class ResultsError(InvalidValueError):
    """A results.json that is missing, damaged or not the results of a study."""


def load_results(folder: Path | str) -> Results:
    """Read the results.json of a study's folder.

    Raises:
        ResultsError: it is missing, damaged, or not a study's results.
    """
    path = Path(folder) / RESULTS_FILE
    results = Results.from_json(read_content(path, "study", "arms"))
    if results.schema_version > SCHEMA_VERSION:
        _log.warning(
            "%s has schema version %d, newer than this deepen's %d: some values may be missing or read wrongly",
            path,
            results.schema_version,
            SCHEMA_VERSION,
        )
    return results


def read_content(path: Path, kind: str, entries: str) -> dict[str, Any]:
    """Read a file of results: a JSON object with a list.

    Args:
        path: the file.
        kind: what it is of, in a word, such as "study".
        entries: key of its list.

    Raises:
        ResultsError: it is missing or damaged, or has no such list.
    """
    try:
        content = durable.read_json(path)
    except durable.DamagedError as error:
        raise ResultsError(str(error), remedy=f"run the {kind} again to rewrite it") from None
    if content is None:
        raise ResultsError(f"{path} does not exist", remedy=f"run the {kind} first, or name the folder of another")
    if not isinstance(content.get(entries), list):
        raise ResultsError(f"{path} has no list of {entries}, so it is not the results of a {kind}")
    return content


def find_results(folder: Path | str, *, on_damage: str = "") -> Results | None:
    """The results in a study's folder; None if there are none, or if they are damaged.

    Args:
        folder: the study's folder.
        on_damage: what is lost if they are damaged, for a warning; empty for none.
    """
    if not (Path(folder) / RESULTS_FILE).exists():
        return None
    try:
        return load_results(folder)
    except ResultsError as error:
        if on_damage:
            _log.warning("%s; it is rewritten, and %s", error.problem, on_damage)
        return None


def write_results(results: Results, folder: Path | str) -> None:
    """Write the results.json of a study's folder; a reader always finds the old file or the new one."""
    durable.write_json(Path(folder) / RESULTS_FILE, results.to_json())
