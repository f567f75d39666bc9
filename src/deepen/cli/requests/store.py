"""`deepen store check STUDY` and `deepen store prune STUDY`: whether a study's folder is whole, and less of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import Arguments, HelpRequestedError, RequestError, parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import Completion, one_of
from deepen.errors import join_or, nearest
from deepen.study.store.retention import RETENTION_POLICIES

_PRUNABLE = {name: policy.help for name, policy in RETENTION_POLICIES.items() if policy.removes_states}
_STUDY = Argument(metavar="STUDY", help="folder of a study that has run", completion=Completion.FOLDERS)

CHECK = Command(
    name="store check",
    about="Hash every file of a study and read every log. The exit code is 1 where anything is damaged.",
    argument=_STUDY,
    groups=(OptionGroup(title="Output", options=(replace(JSON_OPTION, help="print the findings as JSON"),)),),
    examples=(
        Example(line="deepen store check deepen-runs/quickstart", purpose="whether the quickstart is whole"),
    ),
)
PRUNE = Command(
    name="store prune",
    about="Remove the states of a study that are no longer needed, but never the only good one.",
    argument=_STUDY,
    groups=(
        OptionGroup(
            title="What is kept",
            options=(
                Option(
                    name="keep",
                    takes=one_of(_PRUNABLE),
                    help="; ".join(f"{name}: {what}" for name, what in _PRUNABLE.items()),
                    default_help="none: name one",
                ),
            ),
        ),
        OptionGroup(title="Output", options=(replace(JSON_OPTION, help="print what was removed as JSON"),)),
    ),
    examples=(
        Example(
            line="deepen store prune deepen-runs/quickstart --keep last",
            purpose="keep the states at the marks of a finished study",
        ),
    ),
)
COMMAND = Command(
    name="store",
    about="Check that a study's folder is whole, or remove the states it no longer needs.",
    actions=(CHECK, PRUNE),
    examples=(*CHECK.examples, *PRUNE.examples),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreRequest:
    """What is to be done with a study's folder.

    Attributes:
        command: `CHECK` or `PRUNE`.
        keep: the states that pruning keeps; empty for `CHECK`.
    """

    command: Command
    folder: Path
    keep: str
    as_json: bool


def parse(argv: Sequence[str]) -> StoreRequest:
    """Parse the command line."""
    actions = {action.name.split()[1]: action for action in COMMAND.actions}
    name = argv[0] if argv else ""
    if name in ("-h", "--help"):
        raise HelpRequestedError(COMMAND)
    if name not in actions:
        wrong = f"{name!r} is unknown{nearest(name, actions)}" if argv else "is missing"
        raise RequestError([f"ACTION {wrong}: use {join_or(actions)}"])
    return _parse_action(parse_arguments(actions[name], argv[1:]))


def _parse_action(arguments: Arguments) -> StoreRequest:
    folder = Path(arguments.argument)
    if arguments.argument and not (folder / "study.json").is_file():
        arguments.add(f"STUDY {folder} has no study.json: name the folder of a study that has run")
    prunes = arguments.command is PRUNE
    if prunes and "keep" not in arguments and "keep" not in arguments.refused:
        arguments.add(f"--keep is missing: use {join_or(_PRUNABLE)}")
    arguments.check()
    return StoreRequest(
        command=arguments.command,
        folder=folder,
        keep=arguments["keep"] if prunes else "",
        as_json="json" in arguments,
    )
