"""The entries of a config.json, each checked when it is read."""

from collections.abc import Mapping
from typing import Any

from deepen.errors import InvalidValueError


class Entries:
    """The entries of a config; null counts as missing.

    Args:
        entries: the content of config.json, or a part of it.
        name: the checkpoint's name, for errors.
    """

    def __init__(self, entries: Mapping[str, Any], name: str) -> None:
        self._entries, self.name = entries, name

    def given(self, key: str) -> Any:
        """An entry of any type; None if it is missing."""
        return self._entries.get(key)

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number; required without a default."""
        value = default if self.given(key) is None else self.given(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, "it must be a whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number; required without a default."""
        value = default if self.given(key) is None else self.given(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, "it must be a number")
        return float(value)

    def switch(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = default if self.given(key) is None else self.given(key)
        if not isinstance(value, bool):
            raise self.error(key, "it must be true or false")
        return value

    def require(self, key: str, allowed: tuple[Any, ...], reason: str) -> None:
        """Refuse an entry that is given and is none of the allowed values."""
        if self.given(key) is not None and self.given(key) not in allowed:
            raise self.error(key, reason)

    def refuse_if(self, key: str, reason: str) -> None:
        """Refuse an entry that is given at all."""
        if self.given(key) is not None:
            raise self.error(key, reason)

    def error(self, key: str, reason: str, remedy: str = "") -> InvalidValueError:
        """The error that an entry cannot be used."""
        value = self.given(key)
        problem = "is missing" if value is None else f"is {shorten(value)}"
        return InvalidValueError(f"of {self.name} {problem}: {reason}", field=key, value=value, remedy=remedy)


def shorten(value: object) -> str:
    """A value as it is shown in an error."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
