"""The error of data that cannot be used."""

from deepen.errors import InvalidValueError


class DataError(InvalidValueError):
    """Data that cannot be trained on; the message names the file and what to do."""
