"""Errors that a user can cause: the problem and its remedy, as fields.

The library uses its own field names (`batch_tokens`). The command line shows them as options (`--batch-tokens`),
so field names inside a remedy are written in backticks:

    raise InvalidValueError(
        "is 100, not a multiple of context 64", field="batch_tokens", value=100, remedy="use `batch_tokens` 128"
    )
    # str(): batch_tokens is 100, not a multiple of context 64: use batch_tokens 128
    # the command line: --batch-tokens is 100, not a multiple of context 64: use --batch-tokens 128
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Self, TypeVar

T = TypeVar("T")

_FIELD = re.compile(r"`(\w+)`")


class _RemediableError(Exception):
    """An error with a problem and a remedy, whose fields can be shown under other names."""

    def __init__(
        self,
        problem: str,
        *,
        field: str = "",
        value: object = None,
        remedy: str = "",
        allowed: Iterable[str] = (),
        context: str = "",
    ) -> None:
        self.problem, self.field, self.value, self.remedy = problem, field, value, remedy
        self.allowed, self.context = tuple(allowed), context
        super().__init__(self.describe())

    def describe(self, name_of: Callable[[str], str] = lambda field: field) -> str:
        """The error in one line; `name_of` maps a field to the name to show."""
        context = f"{self.context}: " if self.context else ""
        subject = f"{name_of(self.field)} " if self.field else ""
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{context}{subject}{_FIELD.sub(lambda match: name_of(match[1]), self.problem + remedy)}"

    def __reduce__(self) -> tuple[object, ...]:  # workers send errors as pickles
        fields = (self.problem, self.field, self.value, self.remedy, self.allowed, self.context)
        return _rebuild, (type(self), *fields)


def _rebuild(
    kind: type[_RemediableError],
    problem: str,
    field: str,
    value: object,
    remedy: str,
    allowed: tuple[str, ...],
    context: str,
) -> _RemediableError:
    return kind(problem, field=field, value=value, remedy=remedy, allowed=allowed, context=context)


class InvalidValueError(_RemediableError, ValueError):
    """A value that cannot be used.

    Attributes:
        problem: a clause whose subject is the field: "is 5, but there are 4 blocks".
        field: the field or argument, as the library spells it; empty if no single one is at fault.
        value: the given value.
        remedy: what to do, with field names in backticks; empty if the problem implies it.
        allowed: the valid names, if the value must be one of a few.
        context: what the value belongs to, such as "arm full", before the message; empty if nothing.
    """

    def within(self, context: str) -> Self:
        """The same error with `context` before its message: "arm full: batch_tokens is 3"."""
        return type(self)(
            self.problem,
            field=self.field,
            value=self.value,
            remedy=self.remedy,
            allowed=self.allowed,
            context=f"{context}: {self.context}" if self.context else context,
        )


class InvalidValuesError(ValueError):
    """Several values that cannot be used, reported together.

    Attributes:
        errors: one per value, without duplicates.
    """

    def __init__(self, errors: Iterable[ValueError]) -> None:
        flat = [one for error in errors for one in getattr(error, "errors", (error,))]
        self.errors: tuple[ValueError, ...] = tuple({str(error): error for error in flat}.values())
        super().__init__("\n".join(str(error) for error in self.errors))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.errors,)


def add_context(error: ValueError, context: str) -> ValueError:
    """An error, or each of several, with `context` before its message."""
    if isinstance(error, InvalidValuesError):
        return InvalidValuesError(add_context(each, context) for each in error.errors)
    if isinstance(error, InvalidValueError):
        return error.within(context)
    return InvalidValueError(f"{context}: {error}")


class ErrorCollector:
    """Runs checks and collects their errors.

        problems = ErrorCollector()
        policy = problems.attempt(lambda: get_retention_policy(keep))  # None if it raised a ValueError
        problems.raise_all()

    All errors are reported together.
    """

    def __init__(self) -> None:
        self._errors: list[ValueError] = []

    def attempt(self, check: Callable[[], T]) -> T | None:
        """Return the result of a check, or None if it raised a ValueError, which is kept for `raise_all`."""
        try:
            return check()
        except ValueError as error:
            self.add(error)
            return None

    def add(self, error: ValueError) -> None:
        """Keep an error for `raise_all`."""
        self._errors.append(error)

    @property
    def errors(self) -> tuple[ValueError, ...]:
        """All collected errors, in order."""
        return tuple(self._errors)

    @property
    def found(self) -> bool:
        """Whether any error was collected."""
        return bool(self._errors)

    def raise_all(self) -> None:
        """Raise an InvalidValuesError with all collected errors, if there are any."""
        if self._errors:
            raise InvalidValuesError(self._errors)


class RunError(_RemediableError, RuntimeError):
    """A run that cannot continue; its saved states are kept. The attributes are as in `InvalidValueError`."""


def look_up(known: Mapping[str, T], name: str, *, field: str) -> T:
    """The value that a registry has under a name.

    Raises:
        InvalidValueError: the name is unknown; the error lists those that exist.
    """
    if not isinstance(name, str) or name not in known:
        remedy = f"use {join_or(known)}"
        raise InvalidValueError(f"{name!r} is unknown", field=field, value=name, remedy=remedy, allowed=known)
    return known[name]


def join_or(items: Iterable[str]) -> str:
    """Alternatives in words: a; a or b; a, b or c."""
    *others, last = items
    return f"{', '.join(others)} or {last}" if others else last


def listed(values: Iterable[object]) -> str:
    """Values of a message as a user writes them: 3, 6, 12; `none` if there are none."""
    return ", ".join(str(value) for value in values) or "none"


def nearest(name: str, known: Iterable[str]) -> str:
    """The text ` (did you mean 'x'?)` for the most similar known name; empty if none is similar."""
    bare = {each.lstrip("-"): each for each in known}  # the dashes of options make unlike ones similar
    match = difflib.get_close_matches(name.lstrip("-"), list(bare), n=1, cutoff=0.5)
    return f" (did you mean {bare[match[0]]!r}?)" if match else ""


def is_line(value: object) -> bool:
    """Whether a value is text of one line that can be printed and written as UTF-8, as names must be."""
    if not isinstance(value, str):
        return False
    return value.isprintable() or not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)


def is_number(value: object) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number by its type, as 6 is and 6.0 is not; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)
