"""argparse's parser of a command, made from its table: argparse writes its help, and shtab its completion.

It reads no command line: `parser.py` does, to find all problems at once.
"""

import shutil
import textwrap
from argparse import Action, ArgumentParser, HelpFormatter
from collections.abc import Sequence
from typing import Any

from deepen.cli.requests.command import Command, Option
from deepen.cli.requests.value_types import Completion

_OPTION_COLUMN = 30
_MAX_WIDTH = 110
_NUMBERS = "Numbers may be written as 20k, 5M, 10B, 1e6 or 1_000."


class _HelpFormatter(HelpFormatter):
    """As wide as the terminal, up to a limit. Paragraphs are wrapped; indented lines, as of examples, are not."""

    def __init__(self, prog: str) -> None:
        width = min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 24)).columns)
        super().__init__(prog, max_help_position=_OPTION_COLUMN, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line if line.startswith(" ") else textwrap.fill(line, width, break_on_hyphens=False)
            for line in text.splitlines()
        )

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


def build_parser(command: Command) -> ArgumentParser:
    """The parser of a command; its actions are subcommands."""
    parser = ArgumentParser(**_texts(command))
    _fill(parser, command)
    return parser


def _texts(command: Command) -> dict[str, Any]:
    prog = f"deepen {command.name}".strip()
    words = [prog]
    if command.argument:
        words.append(command.argument.metavar)
    if command.actions:
        words.append(_actions_metavar(command))
    elif command.groups:
        words.append("[OPTION ...]")
    notes = []
    if any(option.takes and option.takes.number is int for option in command.options):
        notes.append(_NUMBERS)
    if command.examples:
        examples = (f"  # {example.purpose}\n  {example.line}" for example in command.examples)
        notes.append("\n".join(("Examples:", *examples)))
    return {
        "prog": prog,
        "usage": " ".join(words),
        "description": command.about,
        "epilog": "\n\n".join(notes),
        "formatter_class": _HelpFormatter,
    }


def _fill(parser: ArgumentParser, command: Command) -> None:
    if command.actions:
        actions = parser.add_subparsers(title="Commands", metavar=_actions_metavar(command))
        for each in command.actions:
            name = each.name.split()[-1]
            _fill(actions.add_parser(name, help=_escape(each.about), **_texts(each)), each)
    if command.argument:
        argument = command.argument
        added = parser.add_argument("argument", metavar=argument.metavar, help=_escape(argument.help))
        _complete(added, (*argument.names, *argument.suggested), argument.completion)
    for group in command.groups:
        options = parser.add_argument_group(group.title)
        for option in group.options:
            text = _escape(explain_option(option))
            if option.takes is None:
                options.add_argument(*option.spellings, action="store_true", help=text)
            else:
                action = "append" if option.repeats else "store"
                metavar = option.takes.metavar
                number = None if option.bare is None else "?"
                added = options.add_argument(
                    *option.spellings, action=action, nargs=number, metavar=metavar, help=text
                )
                _complete(added, option.takes.names, option.takes.completion)


def _actions_metavar(command: Command) -> str:
    return f"{'ACTION' if command.name else 'COMMAND'} [OPTION ...]"


def _escape(text: str) -> str:
    return text.replace("%", "%%")  # argparse fills in %(prog)s and its like


def explain_option(option: Option) -> str:
    """The help of an option, its names and its default."""
    text = option.help
    if option.takes and option.takes.names and not all(name in text for name in option.takes.names):
        text += f": {', '.join(option.takes.names)}"
    default = option.default_help or ("" if option.default is None else str(option.default))
    text += f" (default: {default})" if default else ""
    return f"{text} [{', '.join(option.owners)}]" if option.owners else text


def _complete(action: Action, names: Sequence[str], completion: Completion) -> None:
    """Set what a shell offers: names, paths, or both."""
    if completion is Completion.NOTHING:
        action.choices = names
    else:
        action.complete = _names_or_files(names) if names else completion.value  # type: ignore[attr-defined]


def _names_or_files(names: Sequence[str]) -> dict[str, Any]:
    """How each shell completes some names or a path, in the form that shtab takes."""
    words, function = " ".join(names), f"_deepen_files_or_{'_'.join(names)}"
    return {
        "bash": function,
        "zsh": rf" _alternative 'names\:name\:({words})' 'files\:file\:_files'",
        "fish": f"{words} (__fish_complete_path (commandline -ct))",
        "preamble": {"bash": f'{function}() {{ compgen -W "{words}" -- "$1"; compgen -f -- "$1"; }}'},
    }
