"""All commands by name, with what each does in a line. Their tables are imported when they are asked for."""

from dataclasses import replace
from importlib import import_module

from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup

COMMANDS = {
    "study": "run or continue a study: quickstart, paper, fair, map, or a Python file",
    "train": "train one arm",
    "grow": "make a checkpoint deeper, deepen's or Hugging Face's",
    "export": "write a checkpoint in Hugging Face's format",
    "sample": "print text from a checkpoint",
    "plan": "what a recipe or a study costs; trains nothing",
    "advise": "what a measured map suggests for a model and a budget, and what would test it",
    "bench": "what each kind of phase takes on this device, compared with the ledger",
    "verify": "train one segment of somebody's study again, and compare its losses",
    "store": "check that a study's folder is whole; prune the states it no longer needs",
    "data": "make token shards of text; verify and describe shards",
    "eval": "score a checkpoint with lm-evaluation-harness",
    "report": "draw a study's figures and page again, or write its numbers as tables",
    "recipes": "list recipes, growth operators, placements, moment policies, partitions, rates",
    "doctor": "what this machine offers, and what is missing for which command",
    "completion": "print a script that completes deepen's commands in bash, zsh or fish",
}

_HELP_AND_VERSION = (
    Command(
        name="help",
        about="show this overview, or the help of a command",
        argument=Argument(metavar="COMMAND", help="a command", names=tuple(COMMANDS)),
    ),
    Command(name="version", about="show the version"),
)
"""Commands that are other words for the options `--help` and `--version`."""

OVERVIEW = Command(
    name="",
    about="Train language models by growing them deeper, and find out whether it pays.",
    actions=(*(Command(name=name, about=summary) for name, summary in COMMANDS.items()), *_HELP_AND_VERSION),
    groups=(OptionGroup(title="Version", options=(Option(name="version", help="show the version instead"),)),),
    examples=(
        Example(
            line="deepen study quickstart", purpose="to begin: the paper's comparison, in minutes on two CPU cores"
        ),
        Example(line="deepen plan two-phase --stages 8", purpose="what the paper's recipe costs on GPT-2 124M"),
        Example(line="deepen train --help", purpose="the options of a command"),
    ),
)
"""What `deepen --help` shows."""


def load_tables() -> Command:
    """The overview with the whole table of every command."""
    return replace(OVERVIEW, actions=(*map(_load_table, COMMANDS), *_HELP_AND_VERSION))


def _load_table(name: str) -> Command:
    """The table of a command; where options depend on the argument, with the options of all its forms."""
    module = import_module(f"deepen.cli.requests.{name}")
    forms: tuple[Command, ...] = getattr(module, "FORMS", (module.COMMAND,))
    options = {option.flag: option for form in reversed(forms) for option in form.options}
    groups = (OptionGroup(title="Options", options=tuple(options.values())),) if options else ()
    return replace(forms[0], groups=groups)
