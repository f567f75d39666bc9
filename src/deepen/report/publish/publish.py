"""Publishing a finished study: what a page of results holds of it.

    publish(results, folder)

    FOLDER/results.json          in little room; `load_results` reads it, and `judge` finds the same verdicts in it
    FOLDER/tables.md             every table of the study, and its figures
    FOLDER/*.csv                 verdicts, marks and trials
    FOLDER/figures/*.svg         light and dark

Figures and tables are drawn from the file that is published, so that anybody can draw them again: publishing a
published study changes nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from deepen.report.figures.all_figures import draw_figures
from deepen.report.figures.isoflops import read_depth_studies, read_depth_study
from deepen.report.figures.isoflops_figure import draw_isoflops
from deepen.report.files import write_file
from deepen.report.publish import POINTS
from deepen.report.publish.compact import encode_compact, make_compact
from deepen.report.publish.depth_tables import tabulate_isoflops
from deepen.report.publish.pages import (
    FIGURES_FOLDER,
    find_figures,
    find_group,
    find_pages,
    load_group,
    render_page,
    renew_pages,
)
from deepen.report.publish.pictures import encode_pictures
from deepen.report.publish.tables import TABLES
from deepen.report.style import MATPLOTLIB
from deepen.report.summary.study_summary import summarize
from deepen.report.tables.data_files import make_tables, write_csv
from deepen.report.units import capitalized
from deepen.study.results.results_file import RESULTS_FILE, load_results
from deepen.study.results.schema import Results

TABLES_PAGE = "tables.md"

_CSV = ("verdicts", "depth-verdicts", "marks", "trials")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written: the folder, its files with their sizes in bytes, and the pages that were renewed."""

    folder: Path
    files: dict[str, int]
    pages: tuple[Path, ...]


def publish(results: Results, folder: Path, points: int = POINTS) -> Published:
    """Write a study in little room, its tables and its figures into a folder, and renew the pages that show it.

    Args:
        results: the results of the study.
        folder: where to; the pages are in it, and in the two folders above.
        points: how many points of the longest curve are kept.

    Raises:
        InvalidValueError: a page has a block that the study has no table for.
    """
    write_file(folder / RESULTS_FILE, encode_compact(make_compact(results, points)))
    compact = load_results(folder)
    tables = {name: table for name, table in make_tables(compact).items() if name in _CSV}
    names = [RESULTS_FILE, *write_csv(tables, folder)]
    with matplotlib.rc_context(MATPLOTLIB):
        figures = _write_figures(_draw(compact), folder)
    made = [name for name, kind in TABLES.items() if kind.make(compact) is not None]
    write_file(folder / TABLES_PAGE, _list_tables(compact, made, list(figures), folder).encode())
    names += [*(file for files in figures.values() for file in files), TABLES_PAGE]
    return _finish(folder, names)


def publish_group(folder: Path, out: Path, points: int = POINTS) -> Published:
    """Publish the studies in a folder, each into a folder of its name, and what compares them.

    They are compared where they have several constant depths at several budgets: `isoflops.csv` and the figure
    `isoflops` have their curves.

    Args:
        folder: a folder with folders of studies.
        out: where to; may be `folder`, if its studies are published there.
        points: as in `publish`.

    Raises: as `publish`; and ResultsError if the results of a study are damaged.
    """
    studies = {path.name: load_results(path) for path in find_group(folder)}
    published = [publish(results, out / name, points) for name, results in studies.items()]
    group = load_group(out)
    names = [f"{each.folder.name}/{name}" for each in published for name in each.files]
    if depths := read_depth_studies(group):
        names += write_csv({"isoflops": tabulate_isoflops(group)}, out)
        with matplotlib.rc_context(MATPLOTLIB):
            figures = _write_figures([("isoflops", draw_isoflops(depths))], out)
        names += [file for files in figures.values() for file in files]
    return _finish(out, names)


def _draw(results: Results) -> Iterator[tuple[str, Figure]]:
    yield from draw_figures(summarize(results))
    if (depths := read_depth_study(results)) is not None:
        yield "isoflops", draw_isoflops([depths])


def _write_figures(drawn: Iterable[tuple[str, Figure]], folder: Path) -> dict[str, tuple[str, ...]]:
    """Write those figures that pages show, or all where none is shown; returns their files by name."""
    shown = find_figures([page for page in find_pages(folder) if page.name != TABLES_PAGE], folder)
    written = {}
    for name, figure in drawn:
        if not shown or name in shown:
            files = dict(encode_pictures(name, figure))
            for file, content in files.items():
                write_file(folder / FIGURES_FOLDER / file, content)
            written[name] = tuple(f"{FIGURES_FOLDER}/{file}" for file in files)
    kept = {file for files in written.values() for file in files}
    for old in (folder / FIGURES_FOLDER).glob("*.svg"):
        if f"{FIGURES_FOLDER}/{old.name}" not in kept:
            old.unlink()
    return written


def _finish(folder: Path, names: Sequence[str]) -> Published:
    return Published(
        folder=folder,
        files={name: (folder / name).stat().st_size for name in names},
        pages=tuple(page for page in renew_pages(folder) if page.name != TABLES_PAGE),
    )


def _list_tables(results: Results, tables: list[str], figures: list[str], folder: Path) -> str:
    """A page with every table and figure, as blocks to copy into another page."""
    blocks = [f"## {TABLES[name].title}\n\n<!-- table: {name} -->\n<!-- end -->\n" for name in tables]
    blocks += [
        f"## {capitalized(name.replace('-', ' '))}\n\n<!-- figure: {name} -->\n<!-- end -->\n" for name in figures
    ]
    title = f"# {results.study}: tables and figures\n\nMade from results.json; edits are lost.\n"
    return render_page("\n".join([title, *blocks]), folder)
