"""`deepen verify STUDY`: train a segment of a study again, and compare."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.user_file import read_study
from deepen.cli.requests.value_types import FILE, TEXT, Completion, whole_number
from deepen.study.define.study import Study

COMMAND = Command(
    name="verify",
    about="Train one segment of somebody's study again, and see whether its recorded losses can be reproduced: "
    "bit for bit on the kind of machine that trained it, within measured rounding elsewhere. results.json is "
    "compared with the logs, too. Nothing in STUDY is changed. The exit code is 1 where something differs.",
    argument=Argument(
        metavar="STUDY",
        help="folder of a study that has run",
        completion=Completion.FOLDERS,
        fields=("folder",),
    ),
    groups=(
        OptionGroup(
            title="Which segment",
            options=(
                Option(
                    name="segment",
                    takes=TEXT,
                    help="the segment's key, or its beginning, as in STUDY/segments",
                    default_help="one is drawn at random",
                ),
                Option(
                    name="arm", takes=TEXT, help="draw among the segments of this arm", default_help="all arms"
                ),
                Option(
                    name="draw",
                    takes=whole_number(maximum=2**32 - 1),
                    help="number of the draw: the same one draws the same segment",
                    default_help="a random number, which is printed",
                ),
                Option(
                    name="from-start",
                    help="train its whole run from a new model, instead of continuing from the nearest saved "
                    "state, which then need not be trusted",
                ),
                Option(
                    name="steps",
                    takes=whole_number(minimum=1),
                    help="number of steps of the segment to train, from its first",
                    default_help="all",
                ),
            ),
        ),
        OptionGroup(
            title="Where its inputs are",
            options=(
                Option(
                    name="data",
                    takes=TEXT,
                    help="folder of the study's token shards; their hash is compared",
                    default_help="the path that STUDY records",
                ),
                Option(
                    name="code",
                    takes=FILE,
                    help="the study's Python file, where its arms have recipes of their author's; it is executed",
                    default_help="none",
                ),
            ),
        ),
        OptionGroup(title="Output", options=(JSON_OPTION,)),
    ),
    examples=(
        Example(line="deepen verify deepen-runs/quickstart", purpose="a random segment of the quickstart"),
        Example(
            line="deepen verify deepen-runs/quickstart --arm one-shot --draw 1 --from-start",
            purpose="a segment of one arm, with everything that led to it",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyRequest:
    """Which segment of which study to train again."""

    command: ClassVar[Command] = COMMAND
    folder: Path
    segment: str
    arm: str
    draw: int
    from_start: bool
    steps: int | None
    data: str
    study: Study | None
    as_json: bool


def parse(argv: Sequence[str]) -> VerifyRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    folder = Path(arguments.argument)
    if arguments.argument and not (folder / "results.json").is_file():
        arguments.add(f"STUDY {folder} has no results.json: name the folder of a study that has run")
    if "segment" in arguments:
        for key in arguments.given(["arm", "draw"]):
            arguments.add(
                f"--{key} is for a segment that is drawn, and --segment names one: leave one of them out"
            )
    study = arguments.attempt(lambda: read_study(arguments["code"])) if "code" in arguments else None
    arguments.check()
    return VerifyRequest(
        folder=folder,
        segment=arguments.get("segment", ""),
        arm=arguments.get("arm", ""),
        draw=arguments.get("draw", secrets.randbelow(2**32)),
        from_start="from_start" in arguments,
        steps=arguments.values.get("steps"),
        data=arguments.get("data", ""),
        study=study,
        as_json="json" in arguments,
    )
