"""The study that a folder's study.json records, read without torch."""

from pathlib import Path

from deepen import durable
from deepen.errors import InvalidValueError
from deepen.study.define.study import Study


def read_recorded_study(folder: Path) -> Study:
    """The study that a folder holds.

    Raises:
        InvalidValueError: its study.json is missing, damaged, or of a version that this one cannot read.
    """
    path = folder / "study.json"
    try:
        return Study.from_json((durable.read_json(path) or {}).get("study"))
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(
            f"{path} cannot be used: {error}", field="folder", value=folder, remedy="restore it from a copy"
        ) from None
