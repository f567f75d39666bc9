"""A command as a value: its argument, its options in groups, its examples.

One table serves all that depends on it: the parser, the help, the completion of shells, and the names under which
the library's fields appear in messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deepen.cli.requests.value_types import Completion, ValueType


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option `--name`.

    Attributes:
        name: as it is written, without the dashes.
        takes: the type of its value; None makes it a switch.
        help: what it does, a clause without a full stop.
        default: its value where it is left out.
        default_help: how help states the default, where `default` alone would not explain it.
        fields: fields of the library that it sets, where they are not called as the option.
        owners: what the option belongs to, where it is not the command itself: names of recipes.
        repeats: whether it may be given more than once; its value is then a tuple.
        short: the same option as one dash and one letter, if it has such a form.
        bare: its value where it is given alone; None where a text must follow. Only the names of `takes` are read
            as its text, so that an argument can follow it.
    """

    name: str
    help: str
    takes: ValueType | None = None
    default: Any = None
    default_help: str = ""
    fields: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    repeats: bool = False
    short: str = ""
    bare: Any = None

    @property
    def key(self) -> str:
        """The name of its value."""
        return self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        """The option as it is written on a command line."""
        return f"--{self.name}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """All forms of the option on a command line, the long one first."""
        return (self.flag, self.short) if self.short else (self.flag,)

    @property
    def value_alone(self) -> Any:
        """Its value where no text follows; None where one must."""
        return True if self.takes is None else self.bare

    def write(self, value: Any) -> tuple[str, ...]:
        """The words of a command line that give it a value: `--stages 4`, `--depths 3,6`, a switch alone.

        There are none for a switch that is off, nor for a value that is empty: no text can give one.
        """
        if self.takes is None:
            return (self.flag,) if value else ()
        if value is None or value in ("", (), []):
            return ()
        if isinstance(value, bool):
            return self.flag, str(value).lower()
        return self.flag, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionGroup:
    """Options that belong together, under a heading."""

    title: str
    options: tuple[Option, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """The one argument of a command that is not an option.

    Attributes:
        metavar: the word that stands for it: RECIPE.
        help: what it is.
        names: the values there are; none where it is checked elsewhere.
        suggested: names for a shell to offer, where others are possible too.
        completion: what a shell offers beside `suggested`.
        fields: fields of the library that it sets.
    """

    metavar: str
    help: str
    names: tuple[str, ...] = ()
    suggested: tuple[str, ...] = ()
    completion: Completion = Completion.NOTHING
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A command line that can be run, and what it does."""

    line: str
    purpose: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command `deepen NAME`.

    Attributes:
        name: as it is written; an action's name begins with that of its command: `store check`.
        about: what it does, for its help.
        actions: commands of which one must be named next.
    """

    name: str
    about: str
    argument: Argument | None = None
    groups: tuple[OptionGroup, ...] = ()
    examples: tuple[Example, ...] = ()
    actions: "tuple[Command, ...]" = ()

    @property
    def options(self) -> Iterator[Option]:
        """All options, in the order of the help."""
        for group in self.groups:
            yield from group.options

    def display_name(self, field: str) -> str:
        """How a field of the library is called here: as the option or argument that sets it, if any."""
        for option in self.options:
            if field in option.fields:
                return option.flag
        for option in self.options:
            if field == option.key:
                return option.flag
        if self.argument and field in (*self.argument.fields, self.argument.metavar.lower()):
            return self.argument.metavar
        return field


def as_flag(name: str) -> str:
    """A field's name as it would be written as an option: `--grow-at`."""
    return f"--{name.replace('_', '-')}"
