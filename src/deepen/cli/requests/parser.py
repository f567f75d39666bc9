"""Reading a command line by a command's table: all problems at once, each in a line that names the option.

    parse_arguments(TRAIN, ["two-phase", "--stages", "x", "--sed", "3"])
    # argument "two-phase"; no values; two problems:
    #   --stages is 'x': it must be a whole number
    #   option --sed is unknown (did you mean '--seed'?): see deepen train --help

Python's argparse would stop at the first of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from deepen.cli.requests.command import Command, Option
from deepen.errors import InvalidValueError, InvalidValuesError, nearest

T = TypeVar("T")


class RequestError(Exception):
    """A wrong request: one line per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class HelpRequestedError(Exception):
    """The command line asks for help instead."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.name)
        self.command = command


@dataclass(slots=True)
class Arguments:
    """What a command line gives, and the problems found so far.

    `arguments["stages"]` is the value of an option, its default where it was left out or wrong;
    `"stages" in arguments` is true where a value was given.

    Attributes:
        argument: the argument that is not an option; empty where it was left out.
        values: of the options that were given, by key.
        refused: keys of options whose value could not be read.
    """

    command: Command
    argument: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str) -> Any:
        if key in self.values:
            return self.values[key]
        return next(option.default for option in self.command.options if option.key == key)

    def get(self, key: str, default: T) -> T:
        """A value, or a default that depends on the rest of the request."""
        value: T = self.values.get(key, default)
        return value

    def given(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values that were given of some options."""
        return {key: self.values[key] for key in keys if key in self.values}

    def add(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def attempt(self, make: Callable[[], T]) -> T | None:
        """What `make` returns; where it raises a ValueError, the problem is added and the result None."""
        try:
            return make()
        except ValueError as error:
            for problem in describe_errors(error, self.command):
                self.add(problem)
            return None

    def check(self) -> None:
        """Raise all problems, if there are any."""
        if self.problems:
            raise RequestError(self.problems)


def describe_errors(error: ValueError, command: Command) -> list[str]:
    """The lines of an error, its fields called as the command's options, with the nearest allowed name."""
    if isinstance(error, InvalidValuesError):
        return [line for each in error.errors for line in describe_errors(each, command)]
    if isinstance(error, InvalidValueError):
        line = error.describe(command.display_name)
        near = nearest(error.value, error.allowed) if isinstance(error.value, str) else ""
        return [line if near in line else f"{line}{near}"]
    return str(error).splitlines()


def parse_arguments(command: Command, argv: Sequence[str]) -> Arguments:
    """Read a command line; problems are collected in the result."""
    if asks_for_help(argv):
        raise HelpRequestedError(command)
    arguments = Arguments(command)
    options = {option.flag: option for option in command.options}
    rest = list(argv)
    words: list[str] = []
    unsure: list[str] = []  # words after unknown options: values of those, or arguments
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag == "--help":
            arguments.add("--help takes no value: write --help alone")
            continue
        if flag not in options:
            known = [*options, "--help"]
            arguments.add(f"option {flag} is unknown{nearest(flag, known)}: see deepen {command.name} --help")
            if not equals and rest and not rest[0].startswith("-"):
                unsure.append(rest.pop(0))
            continue
        option = options[flag]
        if option.takes is None:
            if equals:
                arguments.add(f"{flag} takes no value: write {flag} alone")
            else:
                arguments.values[option.key] = True
        elif equals:
            _read_value(arguments, option, value)
        elif rest and not rest[0].startswith("--"):
            _read_value(arguments, option, rest.pop(0))
        else:
            arguments.refused.add(option.key)
            arguments.add(f"{flag} has no value: write {flag} {option.takes.metavar}")
    _read_argument(arguments, words, unsure)
    return arguments


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether a command line asks for help, anywhere in it."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    return "--help" in options or "-h" in options


def first_argument(argv: Sequence[str], options: Sequence[Option]) -> str:
    """The first word that is neither an option nor an option's value; empty if there is none.

    For a command whose table depends on its argument.
    """
    takes_value = {option.flag for option in options if option.takes is not None}
    is_value = False
    for word in argv:
        if not is_value and not word.startswith("-"):
            return word
        is_value = not is_value and word in takes_value
    return ""


def _read_value(arguments: Arguments, option: Option, text: str) -> None:
    assert option.takes is not None
    try:
        value = option.takes.read(text)
        before = arguments.values.get(option.key, ())
        arguments.values[option.key] = (*before, value) if option.repeats else value
    except ValueError as error:
        arguments.refused.add(option.key)
        arguments.add(f"{option.flag} {error}")


def _read_argument(arguments: Arguments, words: Sequence[str], unsure: Sequence[str]) -> None:
    argument, name = arguments.command.argument, arguments.command.name
    allowed = 0 if argument is None else 1
    if words and argument is not None:
        arguments.argument = words[0]
    for word in words[allowed:]:
        arguments.add(f"{word!r} is one argument too many: see deepen {name} --help")
    if argument is None:
        return
    known = argument.names
    if not arguments.argument:
        if not unsure:
            arguments.add(f"{argument.metavar} is missing: use {', '.join(known) or 'a path'}")
    elif known and arguments.argument not in known:
        near = nearest(arguments.argument, known)
        arguments.add(f"{argument.metavar} {arguments.argument!r} is unknown{near}: use {', '.join(known)}")
