"""Reading a request: all its problems at once, each in a line that names the option and what would be right.

argparse splits the command line and writes the help; values arrive as text and are converted here, because
argparse stops at the first problem.
"""

import argparse
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn


class Problems(Exception):
    """A wrong request: one line per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Stopped(Exception):
    """A run that ended before its end: the exit code, and a line that says how to go on."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option `--name`: how its text becomes a value, and its help. `read` None makes it a switch."""

    name: str
    read: Callable[[str], Any] | None
    help: str

    @property
    def key(self) -> str:
        """The name of its value."""
        return self.name.replace("-", "_")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where something known is near, else nothing."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Problems([f"{message} (see {self.prog} --help)"])


@dataclass(slots=True)
class Request:
    """The values that were given, by key, and the problems found so far."""

    name: str
    values: dict[str, Any]
    problems: list[str]

    def get(self, key: str, default: Any = None) -> Any:
        """A value, or the default where it was left out or wrong."""
        return self.values.get(key, default)

    def attempt(self, make: Callable[[], Any]) -> Any:
        """What `make` returns; its ValueError becomes a problem and the result None."""
        try:
            return make()
        except ValueError as error:
            self.problems += [line for line in str(error).splitlines() if line not in self.problems]
            return None

    def check(self) -> None:
        """Raise all problems, if there are any."""
        if self.problems:
            raise Problems(self.problems)


def read_request(
    command: str,
    argv: Sequence[str],
    options: Sequence[Option],
    *,
    what: str,
    about: str,
    known: Iterable[str] = (),
) -> Request:
    """Read the command line of a command with one positional argument `what` (none where it is empty).

    Args:
        known: the names the positional argument may have; none means that it is checked elsewhere.
    """
    parser = _Parser(prog=f"deepen {command}", description=about, allow_abbrev=False)
    if what:
        parser.add_argument("name", metavar=what, nargs="?")
    for option in options:
        if option.read is None:
            parser.add_argument(f"--{option.name}", action="store_const", const="", help=option.help)
        else:
            parser.add_argument(f"--{option.name}", metavar="VALUE", help=option.help)
    given, unknown = parser.parse_known_args(list(argv))
    problems = []
    name = getattr(given, "name", None) or ""
    known = list(known)
    if what and not name:
        problems.append(f"{what} is missing: use {', '.join(known) or 'a path'}")
    elif known and name not in known:
        problems.append(f"{what} {name!r} is unknown{nearest(name, known)}: use {', '.join(known)}")
    flags = [f"--{option.name}" for option in options]
    for word in unknown:
        if word.startswith("--"):
            flag = word.split("=")[0]
            problems.append(f"option {flag} is unknown{nearest(flag, flags)}: see deepen {command} --help")
        elif not any(other.startswith("--") for other in unknown):
            problems.append(f"{word!r} is one argument too many: see deepen {command} --help")
    values: dict[str, Any] = {}
    for option in options:
        text = getattr(given, option.key)
        if text is None:
            continue
        try:
            values[option.key] = True if option.read is None else option.read(text)
        except ValueError as error:
            problems.append(f"--{option.name} {error}")
    return Request(name=name, values=values, problems=problems)


def positional(argv: Sequence[str], options: Iterable[Option]) -> str:
    """The first word of a command line that is neither an option nor an option's value; empty if there is none."""
    takes_value = {f"--{option.name}" for option in options if option.read is not None}
    skip = False
    for word in argv:
        if not skip and not word.startswith("-"):
            return word
        skip = not skip and word in takes_value
    return ""


def whole(lowest: int = 0, highest: int = 10**18) -> Callable[[str], int]:
    """Reads a whole number; 1_000, 1e6, 20k, 5M and 10B are understood."""

    def read(text: str) -> int:
        scale = {"k": 10**3, "M": 10**6, "B": 10**9}.get(text[-1:], 1)
        try:
            value = float(text[:-1] if scale > 1 else text) * scale
        except ValueError:
            raise ValueError(f"is {text!r}: it must be a whole number") from None
        if not math.isfinite(value) or value != int(value):
            raise ValueError(f"is {text!r}: it must be a whole number")
        if value < lowest:
            raise ValueError(f"is {text}: it must be at least {lowest}")
        if value > highest:
            raise ValueError(f"is {text}: it must be at most {highest:,}")
        return int(value)

    return read


def number(above: float = 0.0, upto: float = 1e30) -> Callable[[str], float]:
    """Reads a number in (above, upto]."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"is {text!r}: it must be a number") from None
        if not above < value <= upto or not math.isfinite(value):
            raise ValueError(f"is {text}: it must be above {above:g} and at most {upto:g}")
        return value

    return read


def choice(known: Iterable[str]) -> Callable[[str], str]:
    """Reads one of some names."""
    names = [str(name) for name in known]

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} is unknown{nearest(text, names)}: use {', '.join(names)}")
        return text

    return read


def choices(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Reads some of some names, with commas between, each once."""
    one = choice(known)

    def read(text: str) -> list[str]:
        return list(dict.fromkeys(one(name.strip()) for name in text.split(",")))

    return read


def text_of(text: str) -> str:
    """Reads any text but an empty one, or one with a zero byte, which no path may hold."""
    if not text:
        raise ValueError("is empty: give it a value")
    if "\0" in text:
        raise ValueError(f"is {text!r}: leave out the zero byte")
    return text


def path_of(text: str) -> Path:
    """Reads a path."""
    return Path(text_of(text))


def only_known(options: Mapping[str, Any], allowed: Iterable[str], whose: str) -> list[str]:
    """A problem for each given option that a recipe or study does not have."""
    has = [f"--{name.replace('_', '-')}" for name in allowed]
    return [
        f"--{key.replace('_', '-')}: {whose} has no such option; it has {', '.join(has) or 'none'}"
        for key in options
        if f"--{key.replace('_', '-')}" not in has
    ]
