"""The help of a command, from its table: usage, options under headings, examples."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from deepen.cli.requests.command import Command, Example, Option

_OPTION_COLUMN = 30
_MAX_WIDTH = 110
_NUMBERS = "Numbers may be written as 20k, 5M, 10B, 1e6 or 1_000."


def render_help(command: Command) -> str:
    """The help of a command, as wide as the terminal."""
    width = min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 24)).columns)
    blocks = [f"usage: {_usage(command)}", _wrap(command.about, width)]
    if command.actions:
        blocks.append(
            "\n".join(
                [
                    "Actions",
                    *_rows(
                        ((_usage(each).removeprefix("deepen "), each.about) for each in command.actions), width
                    ),
                ]
            )
        )
    if command.argument:
        blocks.append("\n".join(_rows([(command.argument.metavar, command.argument.help)], width)))
    for group in command.groups:
        rows = _rows(((_left(option), _right(option)) for option in group.options), width)
        blocks.append("\n".join([group.title, *rows]))
    if any(option.takes and option.takes.metavar in ("N", "TOKENS") for option in command.options):
        blocks.append(_NUMBERS)
    if command.examples:
        blocks.append(_examples(command.examples))
    return "\n\n".join(blocks)


def _usage(command: Command) -> str:
    words = ["deepen", command.name]
    if command.actions:
        words.append("ACTION")
    if command.argument:
        words.append(command.argument.metavar)
    if command.groups:
        words.append("[OPTION ...]")
    return " ".join(words)


def _left(option: Option) -> str:
    return option.flag if option.takes is None else f"{option.flag} {option.takes.metavar}"


def _right(option: Option) -> str:
    """The help of an option, its names and its default."""
    text = option.help
    if option.takes and option.takes.names and not all(name in text for name in option.takes.names):
        text += f": {', '.join(option.takes.names)}"
    default = option.default_help or ("" if option.default is None else str(option.default))
    text += f" (default: {default})" if default else ""
    return f"{text} [{', '.join(option.owners)}]" if option.owners else text


def _rows(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    for left, right in rows:
        lines = textwrap.wrap(right, max(30, width - _OPTION_COLUMN), break_on_hyphens=False)
        if len(left) + 4 > _OPTION_COLUMN:
            yield f"  {left}"
            left = ""
        yield f"  {left:{_OPTION_COLUMN - 2}}{lines[0]}"
        for line in lines[1:]:
            yield f"{'':{_OPTION_COLUMN}}{line}"


def _wrap(text: str, width: int) -> str:
    return "\n\n".join(textwrap.fill(each, width, break_on_hyphens=False) for each in text.split("\n\n"))


def render_overview(version: str, commands: Mapping[str, str]) -> str:
    """What `deepen --help` prints: all commands with a line each."""
    width = min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 24)).columns)
    title = f"deepen {version}: train language models by growing them deeper, and find out whether it pays"
    rows = _rows(((f"deepen {name}", summary) for name, summary in commands.items()), width)
    examples = (
        Example(
            line="deepen study quickstart", purpose="to begin: the paper's comparison, in minutes on two CPU cores"
        ),
        Example(line="deepen plan two-phase --stages 8", purpose="what the paper's recipe costs on GPT-2 124M"),
        Example(line="deepen train --help", purpose="the options of a command"),
    )
    return "\n\n".join(
        [
            _wrap(title, width),
            "usage: deepen COMMAND [OPTION ...]",
            "\n".join(["Commands", *rows]),
            _examples(examples),
        ]
    )


def _examples(examples: Iterable[Example]) -> str:
    return "\n".join(
        ["Examples", *(line for each in examples for line in (f"  # {each.purpose}", f"  {each.line}"))]
    )
