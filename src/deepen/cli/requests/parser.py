"""Reading a command line by a command's table: all problems at once, each in a line that names the option.

    parse_arguments(TRAIN, ["two-phase", "--stages", "x", "--sed", "3"])
    # argument "two-phase"; no values; two problems:
    #   --stages is 'x': it must be a whole number
    #   option --sed is unknown (did you mean '--seed'?): see deepen train --help

argparse finds the options and their texts; values are read here, because it would stop at the first problem.
"""

import re
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeVar

from deepen.cli.requests.command import Command, Option
from deepen.errors import InvalidValueError, InvalidValuesError, join_or, nearest

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
        spellings: how fields are called that have several options, by the option that was given.
    """

    command: Command
    argument: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    spellings: dict[str, str] = field(default_factory=dict)

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
            for problem in describe_errors(error, self.command, self.spellings):
                self.add(problem)
            return None

    def check(self) -> None:
        """Raise all problems, if there are any."""
        if self.problems:
            raise RequestError(self.problems)


def describe_errors(
    error: ValueError, command: Command, spellings: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """The lines of an error, its fields called as the command's options, with the nearest allowed name.

    Args:
        error: the error.
        command: the command whose options set the fields.
        spellings: how some fields are called instead.
    """
    if isinstance(error, InvalidValuesError):
        return [line for each in error.errors for line in describe_errors(each, command, spellings)]
    if isinstance(error, InvalidValueError):
        line = error.describe(lambda field: spellings.get(field) or command.display_name(field))
        name = error.value if isinstance(error.value, str) else ""
        near = "" if {",", ":"} & set(name) else nearest(name, error.allowed)  # a list is no name
        return [line if near in line else f"{line}{near}"]
    return str(error).splitlines()


def parse_arguments(command: Command, argv: Sequence[str]) -> Arguments:
    """Read a command line; problems are collected in the result."""
    before, after = _split_at_dashes(argv)
    if "--help" in before or "-h" in before:
        raise HelpRequestedError(command)
    arguments = Arguments(command)
    given, rest = _split_options(tuple(command.options), before)
    for option, text in given:
        _read_option(arguments, option, text)
    words, unsure = _read_rest(arguments, rest)
    _read_argument(arguments, [*words, *after], unsure)
    return arguments


def first_argument(argv: Sequence[str], options: Sequence[Option]) -> str:
    """The first word that is neither an option nor an option's value; empty if there is none.

    For a command whose table depends on its argument.
    """
    return find_argument(argv, options, lambda word: True)


def find_argument(argv: Sequence[str], options: Sequence[Option], accept: Callable[[str], bool]) -> str:
    """The first such word that `accept` accepts; empty if there is none."""
    before, after = _split_at_dashes(argv)
    _, rest = _split_options(options, before)
    words = (*(word for word in rest if not word.startswith("-")), *after)
    return next(filter(accept, words), "")


def _split_at_dashes(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before `--`, and those after it, which are no options."""
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _split_options(
    options: Sequence[Option], words: Sequence[str]
) -> tuple[list[tuple[Option, str | None]], list[str]]:
    """The options that are given, each with its text (None where there is none), and all other words.

    argparse takes any text here, or none, and never raises. It would refuse a switch with a value, `--json=1`:
    such a word counts as one of the others.
    """
    by_flag = {flag: option for option in options for flag in option.spellings}
    switches = {"--help", *(flag for flag, option in by_flag.items() if option.takes is None)}
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in by_flag:
        parser.add_argument(flag, action=_Collect, nargs=0 if flag in switches else "?")
    parser._negative_number_matcher = re.compile("-[^-]")  # a value may begin with a dash: -1, -1e-3, -1,13
    refused = [word for word in words if "=" in word and word.partition("=")[0] in switches]
    kept = [word for word in words if word not in refused]
    for index, (word, following) in enumerate(pairwise([*kept, ""])):
        option = by_flag.get(word)
        if option and option.takes and option.bare is not None and following not in option.takes.names:
            kept[index] = f"{word}="  # given alone: what follows is not its text
    given: list[tuple[str, str | None]] = []
    _, rest = parser.parse_known_args(kept, Namespace(given=given))
    return [(by_flag[flag], text) for flag, text in given], [*refused, *rest]


class _Collect(Action):
    """Appends an option and its text to those given before it."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, text: Any, flag: str | None = None) -> None:
        namespace.given.append((flag, text))


def _read_option(arguments: Arguments, option: Option, text: str | None) -> None:
    if option.value_alone is not None and not text:
        arguments.values[option.key] = option.value_alone
        return
    assert option.takes is not None, "a switch has no text"
    try:
        if text is None:
            raise ValueError(f"has no value: write {option.flag} {option.takes.metavar}")
        value = option.takes.read(text)
    except ValueError as error:
        arguments.refused.add(option.key)
        arguments.add(f"{option.flag} {error}")
    else:
        before = arguments.values.get(option.key, ())
        arguments.values[option.key] = (*before, value) if option.repeats else value


def _read_rest(arguments: Arguments, rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are arguments, and words after unknown options, which may be their values instead."""
    known = [*(option.flag for option in arguments.command.options), "--help"]
    words: list[str] = []
    unsure: list[str] = []
    may_be_value = False
    for word in rest:
        if not word.startswith("-") or word == "-":
            (unsure if may_be_value else words).append(word)
            may_be_value = False
            continue
        flag, equals, _ = word.partition("=")
        if flag in known:
            arguments.add(f"{flag} takes no value: write {flag} alone")
        else:
            may_be_value = not equals
            near = nearest(flag, known)
            arguments.add(f"option {flag} is unknown{near}: see deepen {arguments.command.name} --help")
    return words, unsure


def _read_argument(arguments: Arguments, words: Sequence[str], unsure: Sequence[str]) -> None:
    argument, name = arguments.command.argument, arguments.command.name
    known = argument.names if argument else ()
    if not words:
        words = [word for word in unsure if word in known][:1]
    for word in words[1 if argument else 0 :]:
        arguments.add(f"{word!r} is one argument too many: see deepen {name} --help")
    if argument is None:
        return
    arguments.argument = words[0] if words else ""
    if not arguments.argument:
        if not unsure:
            others = (*argument.suggested, "a path")
            arguments.add(f"{argument.metavar} is missing: use {join_or(known or others)}")
    elif known and arguments.argument not in known:
        near = nearest(arguments.argument, known)
        arguments.add(f"{argument.metavar} {arguments.argument!r} is unknown{near}: use {join_or(known)}")
