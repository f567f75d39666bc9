"""All commands by name, with what each does in a line. Their tables are imported when they are asked for."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module

from deepen.cli.requests.command import Command, OptionGroup

COMMANDS = {
    "study": "run or continue a study: quickstart, paper, or a Python file",
    "train": "train one arm",
    "plan": "what a recipe or a study costs; trains nothing",
    "bench": "what each kind of phase takes on this device, compared with the ledger",
    "store": "check that a study's folder is whole; prune the states it no longer needs",
    "report": "draw a study's figures and page again",
    "recipes": "list recipes, growth operators, placements, moment policies, partitions, rates",
    "doctor": "what this machine offers, and what is missing for which command",
    "completion": "print a script that completes deepen's commands in bash, zsh or fish",
}


def load_tables() -> Iterator[Command]:
    """The table of every command; where options depend on the argument, with the options of all its forms."""
    for name in COMMANDS:
        module = import_module(f"deepen.cli.requests.{name}")
        yield _merge(getattr(module, "FORMS", (module.COMMAND,)))


def _merge(forms: tuple[Command, ...]) -> Command:
    options = {option.flag: option for form in reversed(forms) for option in form.options}
    groups = (OptionGroup(title="Options", options=tuple(options.values())),) if options else ()
    return replace(forms[0], groups=groups)
