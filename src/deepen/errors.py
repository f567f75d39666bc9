"""Errors that a user can cause: what was wrong and what would be right, as fields.

The library names its own fields (`batch_tokens`) and knows no command line. Whoever shows an error may show
fields by other names: the command line turns `batch_tokens` into `--batch-tokens`. For the same reason names of
fields stand in backticks inside a remedy:

    raise InvalidValueError(
        "is 100, not a multiple of context 64", field="batch_tokens", value=100, remedy="use `batch_tokens` 128"
    )
    # str(): batch_tokens is 100, not a multiple of context 64: use batch_tokens 128
    # the command line: --batch-tokens is 100, not a multiple of context 64: use --batch-tokens 128
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

_FIELD = re.compile(r"`(\w+)`")


class _RemediableError(Exception):
    """An error with a problem and a remedy, shown under whatever names fields have where it is shown."""

    def __init__(
        self,
        problem: str,
        *,
        field: str = "",
        value: object = None,
        remedy: str = "",
        allowed: Iterable[str] = (),
    ) -> None:
        self.problem, self.field, self.value, self.remedy = problem, field, value, remedy
        self.allowed = tuple(allowed)
        super().__init__(self.describe())

    def describe(self, name_of: Callable[[str], str] = lambda field: field) -> str:
        """The error in one line; `name_of` gives the name under which a field is shown."""
        subject = f"{name_of(self.field)} " if self.field else ""
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{subject}{_FIELD.sub(lambda match: name_of(match[1]), self.problem + remedy)}"

    def __reduce__(self) -> tuple[object, ...]:  # errors travel between processes
        return _rebuild, (type(self), self.problem, self.field, self.value, self.remedy, self.allowed)


def _rebuild(
    kind: type[_RemediableError],
    problem: str,
    field: str,
    value: object,
    remedy: str,
    allowed: tuple[str, ...],
) -> _RemediableError:
    return kind(problem, field=field, value=value, remedy=remedy, allowed=allowed)


class InvalidValueError(_RemediableError, ValueError):
    """A value that cannot be used.

    Attributes:
        problem: what is wrong, a clause whose subject is the field: "is 5, but there are 4 blocks".
        field: the field or argument at fault, as the library spells it; empty where no single one is.
        value: what was given.
        remedy: what to do, with names of fields in backticks; empty where the problem says it already.
        allowed: the names that would be right, where there are only some.
    """


class InvalidValuesError(ValueError):
    """Several values that cannot be used, all found before anything was done.

    Attributes:
        errors: one for each value; none twice.
    """

    def __init__(self, errors: Iterable[ValueError]) -> None:
        flat = [one for error in errors for one in getattr(error, "errors", (error,))]
        self.errors: tuple[ValueError, ...] = tuple({str(error): error for error in flat}.values())
        super().__init__("\n".join(str(error) for error in self.errors))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.errors,)


class ErrorCollector:
    """Runs checks and collects their errors, so that all are reported at once.

    problems = ErrorCollector()
    policy = problems.attempt(lambda: get_retention_policy(keep))  # None where it raised a ValueError
    problems.raise_all()
    """

    def __init__(self) -> None:
        self._errors: list[ValueError] = []

    def attempt(self, check: Callable[[], T]) -> T | None:
        """The result of a check; None where it raised a ValueError, which is kept for `raise_all`."""
        try:
            return check()
        except ValueError as error:
            self._errors.append(error)
            return None

    def raise_all(self) -> None:
        """Raise an InvalidValuesError with all errors so far, if there are any."""
        if self._errors:
            raise InvalidValuesError(self._errors)


class RunError(_RemediableError, RuntimeError):
    """A run that cannot continue; what was complete is kept. Attributes as those of `InvalidValueError`."""


def look_up(known: Mapping[str, T], name: str, *, field: str) -> T:
    """The value that a registry has under a name.

    Raises:
        InvalidValueError: the name is unknown; the error lists those that exist.
    """
    if not isinstance(name, str) or name not in known:
        remedy = f"use {', '.join(known)}"
        raise InvalidValueError(f"{name!r} is unknown", field=field, value=name, remedy=remedy, allowed=known)
    return known[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` where a known name is much like this one, else nothing."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
