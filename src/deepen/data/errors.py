"""The error of data that cannot be used."""

from deepen.errors import InvalidValueError


class DataError(InvalidValueError):
    """Data cannot be trained on. The message names the file and the remedy."""
