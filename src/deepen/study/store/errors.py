"""The error of a study's folder."""

from deepen.errors import InvalidValueError


class StoreError(InvalidValueError):
    """A folder that cannot be used for this study, or not now; the message contains what to do."""
