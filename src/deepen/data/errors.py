"""The error of data that cannot be used."""

from pathlib import Path

from deepen.errors import InvalidValueError
from deepen.os_errors import explain


class DataError(InvalidValueError):
    """Data cannot be trained on. The message names the file and the remedy."""


def unreadable(name: str, path: Path, error: OSError) -> DataError:
    """The error of a file or folder, called `name`, that the system cannot read."""
    problem, remedy = explain(error)
    return DataError(f"{name} cannot be read: {problem}", value=path, remedy=remedy)
