"""`deepen report STUDY`: a study's figures and page again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.value_types import FOLDER, Completion, is_writable_folder, whole_number
from deepen.report.publish import POINTS
from deepen.study.map.schema import MAP_FILE
from deepen.study.results.results_file import RESULTS_FILE

COMMAND = Command(
    name="report",
    about="Draw the figures and the page of a study or a map again, from its results.json or map.json, write a "
    "study's numbers as tables, or publish them.",
    argument=Argument(
        metavar="STUDY",
        help="folder of a study or a map that has run; with --publish also a folder of studies",
        completion=Completion.FOLDERS,
    ),
    groups=(
        OptionGroup(
            title="Output",
            options=(
                Option(
                    name="out",
                    short="-o",
                    takes=FOLDER,
                    help="folder for the report and a copy of results.json, where STUDY cannot be written",
                    default_help="STUDY itself",
                ),
                Option(
                    name="csv",
                    help="draw nothing; write curves, scores, marks and verdicts as CSV and Parquet",
                ),
                Option(
                    name="publish",
                    takes=FOLDER,
                    help="for a repository: write a compact results.json, tables and figures for pages in "
                    "Markdown into FOLDER, and renew the blocks of pages there and in the three folders above",
                    default_help="nothing is published",
                ),
                Option(
                    name="points",
                    takes=whole_number(minimum=1, maximum=10_000),
                    help="number of points of the longest curve that --publish keeps",
                    default_help=str(POINTS),
                ),
            ),
        ),
    ),
    examples=(
        Example(line="deepen study quickstart", purpose="a study to report on"),
        Example(
            line="deepen report deepen-runs/quickstart", purpose="the report of the quickstart, after it has run"
        ),
        Example(line="deepen report deepen-runs/quickstart --csv", purpose="its numbers for pandas"),
        Example(
            line="deepen report deepen-runs/quickstart --publish results/quickstart",
            purpose="its results for a repository",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRequest:
    """What to draw, to write as tables or to publish.

    Attributes:
        folder: of a study, of a map, or of several studies.
        out: the folder of its report.
        tables_only: whether only tables are written.
        is_map: whether `folder` is that of a map.
        is_group: whether `folder` has folders of studies, and no results of its own.
        publish: the folder in which it is published; None to draw its report.
        points: how many points of the longest curve are published.
    """

    command: ClassVar[Command] = COMMAND
    folder: Path
    out: Path
    tables_only: bool
    is_map: bool
    is_group: bool
    publish: Path | None
    points: int


def parse(argv: Sequence[str]) -> ReportRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    folder = Path(arguments.argument)
    out = Path(arguments.get("out", folder))
    is_map = (folder / MAP_FILE).is_file()
    publish = Path(arguments["publish"]) if "publish" in arguments else None
    has_results = (folder / RESULTS_FILE).is_file()
    is_group = not is_map and not has_results and any(folder.glob(f"*/{RESULTS_FILE}"))
    if is_map and "csv" in arguments:
        arguments.add(
            "--csv: a map's numbers are in its map.csv; name the folder of one of its studies, or leave it out"
        )
    elif arguments.argument and not (is_map or has_results or (is_group and publish)):
        arguments.add(f"STUDY {folder} has no {RESULTS_FILE}: name the folder of a study that has run")
    elif publish and not is_writable_folder(publish):
        arguments.add(f"--publish {publish} cannot be written to: name another folder")
    elif not publish and not is_writable_folder(out):
        given = f"--out {out}" if out != folder else f"STUDY {out}"
        arguments.add(f"{given} cannot be written to: name a folder for the report with --out")
    if publish and ("csv" in arguments or "out" in arguments):
        arguments.add("--publish writes tables and figures into its own folder: leave out --csv and --out")
    if "points" in arguments and not publish:
        arguments.add("--points is only used with --publish: leave it out")
    arguments.check()
    return ReportRequest(
        folder=folder,
        out=out,
        tables_only="csv" in arguments,
        is_map=is_map,
        is_group=is_group,
        publish=publish,
        points=arguments.get("points", POINTS),
    )
