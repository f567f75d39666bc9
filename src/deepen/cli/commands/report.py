"""`deepen report STUDY`: draw figures and page again from results.json."""

from collections.abc import Sequence
from pathlib import Path

from deepen.cli.requests.options import read_request


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    request = read_request("report", argv, (), what="STUDY", about="Draw a study's figures and page again.")
    folder = Path(request.name)
    if request.name and not (folder / "results.json").is_file():
        request.problems.append(f"STUDY {folder} has no results.json: name the folder of a study that has run")
    request.check()
    from deepen.report import draw_report
    from deepen.study.results.schema import load_results

    page = request.attempt(lambda: draw_report(load_results(folder), folder))
    request.check()
    print(f"Report: {page}")
    return 0
