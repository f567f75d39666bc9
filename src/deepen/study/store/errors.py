"""The error about a study's folder."""

from deepen.errors import InvalidValueError


class StoreError(InvalidValueError):
    """A folder that cannot be used for this study, or is in use; the message includes a remedy."""
