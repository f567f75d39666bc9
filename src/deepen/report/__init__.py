"""The report of a study: a page and figures, drawn from its results.

    page = draw_report(load_results("runs/quickstart"), "runs/quickstart")

`summary` averages the results over seeds; everything else shows the summary. `words` has the page's sentences,
`figures` its charts and the static figures, `page` its tables and its template, and `tables` the numbers as CSV
and LaTeX. `layout`, `style`, `roles`, `units` and `intervals` are shared by all of them. `map` is the report of a
map.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepen.study.results.schema import Results

__all__ = ["draw_report"]


def draw_report(results: Results, folder: Path | str) -> Path:
    """Draw the report of a study into its folder and return the path of the page.

    Writes `report/figures/*` and `report/*.csv` first and `report/index.html` last. Each file is written under a
    temporary name and then renamed, so that a reader never sees a part of it. Figures of an earlier report that
    this one does not have are removed.
    """
    # Imported here because the drawing libraries take a second to import.
    from deepen.report.figures.all_figures import write_figures
    from deepen.report.files import linked_figures, remove_figures, write_file
    from deepen.report.page.config import read_config
    from deepen.report.page.page import render_page
    from deepen.report.summary.study_summary import summarize
    from deepen.report.tables.data_files import make_tables, write_csv
    from deepen.report.tables.paper_table import write_latex

    summary = summarize(results)
    report_folder = Path(folder) / "report"
    figures = write_figures(summary, report_folder / "figures")
    data_files = (*write_csv(make_tables(results), report_folder), *write_latex(results, report_folder))
    page = report_folder / "index.html"
    earlier = linked_figures(page)
    write_file(page, render_page(summary, figures, data_files, read_config(Path(folder))).encode("utf-8"))
    remove_figures(report_folder / "figures", earlier - set(figures))
    return page
