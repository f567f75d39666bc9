"""Publishing a finished study: what a page of results holds of it.

    publish(results, folder)

    FOLDER/results.json          in little room; `load_results` reads it, and `judge` finds the same verdicts in it
    FOLDER/tables.md             every table of the study, and its figures
    FOLDER/*.csv                 verdicts, marks and trials
    FOLDER/figures/*.svg         light and dark

Figures and tables are drawn from the file that is published, so that anybody can draw them again: publishing a
published study changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from deepen.errors import InvalidValueError, join_or
from deepen.report.figures.all_figures import list_figures
from deepen.report.figures.isoflops import read_depth_studies, read_depth_study
from deepen.report.figures.isoflops_figure import draw_isoflops
from deepen.report.files import write_file
from deepen.report.map.figure import write_map_figures
from deepen.report.map.table import encode_cells
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
from deepen.report.publish.pictures import encode_pictures, shrink_svg
from deepen.report.publish.tables import TABLES
from deepen.report.style import MATPLOTLIB
from deepen.report.summary.study_summary import summarize
from deepen.report.tables.data_files import make_tables, write_csv
from deepen.report.units import capitalized
from deepen.study.map.run_map import collect_map, find_studies
from deepen.study.map.schema import MAP_FILE, load_map, write_map
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


def publish(results: Results, folder: Path, points: int = POINTS, *, is_part: bool = False) -> Published:
    """Write a study in little room, its tables and its figures into a folder, and renew the pages that show it.

    Args:
        results: the results of the study.
        folder: where to; the pages are in it, and in the three folders above.
        points: how many points of the longest curve are kept.
        is_part: whether it is part of a map or of several studies: no figures that no page shows are written.

    Raises:
        InvalidValueError: a page has a block that the study has no table or figure for.
    """
    write_file(folder / RESULTS_FILE, encode_compact(make_compact(results, points)))
    compact = load_results(folder)
    tables = {name: table for name, table in make_tables(compact).items() if name in _CSV}
    names = [RESULTS_FILE, *write_csv(tables, folder)]
    figures = _write_figures(_list_figures(compact), folder, only_shown=is_part)
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
    published = [publish(results, out / name, points, is_part=True) for name, results in studies.items()]
    group = load_group(out)
    names = [f"{each.folder.name}/{name}" for each in published for name in each.files]
    if depths := read_depth_studies(group):
        names += write_csv({"isoflops": tabulate_isoflops(group)}, out)
        figures = _write_figures({"isoflops": partial(draw_isoflops, depths)}, out)
        names += [file for files in figures.values() for file in files]
    return _finish(out, names)


def publish_map(folder: Path, out: Path, points: int = POINTS) -> Published:
    """Publish a map: its studies into `studies/`, as they lie in a map, map.json, its table and its figure.

    Args:
        folder: the folder of a map; without its studies, map.json alone is published.
        out: where to; may be `folder`, if it is published.
        points: as in `publish`.

    Raises: as `publish`; and ResultsError if the results of a study, or map.json, are damaged.
    """
    studies = find_studies(folder)
    published = [
        publish(load_results(path), out / path.relative_to(folder), points, is_part=True) for path in studies
    ]
    names = [str(each.folder.relative_to(out) / name) for each in published for name in each.files]
    found = collect_map(out) if studies else load_map(folder)
    if studies and (folder / MAP_FILE).exists():
        found = replace(found, name=load_map(folder).name)
    write_map(found, out)
    write_file(out / "map.csv", encode_cells(found))
    drawn = write_map_figures(found, out / FIGURES_FOLDER)
    for name in drawn:
        path = out / FIGURES_FOLDER / name
        if path.suffix == ".svg":
            write_file(path, shrink_svg(path.read_text(encoding="utf-8")).encode())
        else:
            path.unlink()  # a page in Markdown shows the others
    names += [MAP_FILE, "map.csv", *(f"{FIGURES_FOLDER}/{name}" for name in drawn if name.endswith(".svg"))]
    return _finish(out, names)


def _list_figures(results: Results) -> dict[str, Callable[[], Figure]]:
    depths = read_depth_study(results)
    own = {} if depths is None else {"isoflops": partial(draw_isoflops, [depths])}
    return list_figures(summarize(results)) | own


def _write_figures(
    figures: Mapping[str, Callable[[], Figure]], folder: Path, *, only_shown: bool = False
) -> dict[str, tuple[str, ...]]:
    """Write those figures that pages show, or all where none is shown; returns their files by name."""
    shown = find_figures([page for page in find_pages(folder) if page.name != TABLES_PAGE], folder)
    if unknown := sorted(shown - figures.keys()):
        raise InvalidValueError(
            f"a page shows the figure {unknown[0]!r} of {folder.name}, which has none",
            value=unknown[0],
            allowed=tuple(figures),
            remedy=f"use {join_or(tuple(figures))}",
        )
    written = {}
    for name, draw in figures.items():
        if name in shown or not (shown or only_shown):
            with matplotlib.rc_context(MATPLOTLIB):
                files = dict(encode_pictures(name, draw()))
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
