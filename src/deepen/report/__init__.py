"""The study's page and figures: results.json in, report/index.html and report/figures/ out."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_report"]


def write_report(study_dir: Path) -> Path:
    """Draw the report of a study and return the path of its page.

    Reads `study_dir/results.json`; writes `study_dir/report/figures/*` first and `report/index.html` last,
    each under a temporary name that is then renamed, so a reader never sees half a file.

    Raises:
        FileNotFoundError: there is no results.json.
        ValueError: results.json is not a study's results.
    """
    # Drawing libraries take a second to import: only a report pays for it.
    from deepen.report.figures import write_figures
    from deepen.report.files import write_file
    from deepen.report.page import render_page
    from deepen.report.read import read_study

    study = read_study(study_dir / "results.json")
    report_dir = study_dir / "report"
    figures = write_figures(study, report_dir / "figures")
    index = report_dir / "index.html"
    write_file(index, render_page(study, figures).encode("utf-8"))
    return index
