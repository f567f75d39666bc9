"""Publish a finished study: the files that a repository holds of it, and the pages that show them.

    publish(results, folder)

    FOLDER/results.json          compact; `load_results` reads it, and `judge` finds the same verdicts in it
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
from deepen.report.map.figure import encode_map_figures
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
from deepen.report.publish.pictures import encode_pictures, list_picture_files, shrink_svg
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

_MAP_TABLE = "map.csv"
_CSV = ("verdicts", "depth-verdicts", "marks", "trials")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written: the folder, its files with their sizes in bytes, and the pages that were renewed."""

    folder: Path
    files: dict[str, int]
    pages: tuple[Path, ...]


def publish(results: Results, folder: Path, points: int = POINTS) -> Published:
    """Write compact results, tables and figures of a study into a folder, and renew the pages that show it.

    Args:
        results: the results of the study.
        folder: where to; the pages are in it, and in the three folders above.
        points: how many points of the longest curve are kept.

    Raises:
        InvalidValueError: a page has a block that the study has no table or figure for.
    """
    return _finish(folder, _write_study(results, folder, points), [folder])


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
    studies = {out / path.name: load_results(path) for path in find_group(folder)}
    names = _write_studies(studies, out, points)
    group = load_group(out)
    if depths := read_depth_studies(group):
        names += write_csv({"isoflops": tabulate_isoflops(group)}, out)
        names += _list_files(_write_figures({"isoflops": partial(draw_isoflops, depths)}, out))
    return _finish(out, names, [*studies, out])


def publish_map(folder: Path, out: Path, points: int = POINTS) -> Published:
    """Publish a map: its studies into `studies/`, as in the folder of a map, map.json, its table and its figure.

    Args:
        folder: the folder of a map; without its studies, map.json alone is published.
        out: where to; may be `folder`, if it is published.
        points: as in `publish`.

    Raises: as `publish`; and ResultsError if the results of a study, or map.json, are damaged.
    """
    found = load_map(folder)
    studies = {out / path.relative_to(folder): load_results(path) for path in find_studies(folder)}
    names = _write_studies(studies, out, points)
    if studies:
        found = replace(collect_map(out), name=found.name)
    write_map(found, out)
    write_file(out / _MAP_TABLE, encode_cells(found))
    names += [MAP_FILE, _MAP_TABLE]
    for name, content in encode_map_figures(found, ("svg",)).items():
        write_file(out / FIGURES_FOLDER / name, shrink_svg(content.decode()).encode())
        names.append(f"{FIGURES_FOLDER}/{name}")
    return _finish(out, names, [*studies, out])


def _write_studies(studies: Mapping[Path, Results], out: Path, points: int) -> list[str]:
    """Write the studies of a map or a group into their folders in `out`; returns the names of the files."""
    return [
        str(folder.relative_to(out) / name)
        for folder, results in studies.items()
        for name in _write_study(results, folder, points, only_shown=True)
    ]


def _write_study(results: Results, folder: Path, points: int, *, only_shown: bool = False) -> list[str]:
    """Write the files of a study; returns their names.

    Args:
        results: the results of the study.
        folder: where to.
        points: how many points of the longest curve are kept.
        only_shown: whether figures that no page shows are left out even where no page shows any.
    """
    write_file(folder / RESULTS_FILE, encode_compact(make_compact(results, points)))
    compact = load_results(folder)
    tables = {name: table for name, table in make_tables(compact).items() if name in _CSV}
    names = [RESULTS_FILE, *write_csv(tables, folder)]
    figures = _write_figures(_list_figures(compact), folder, only_shown=only_shown)
    made = [name for name, kind in TABLES.items() if kind.make(compact) is not None]
    write_file(folder / TABLES_PAGE, _list_tables(compact, made, list(figures), folder).encode())
    return [*names, *_list_files(figures), TABLES_PAGE]


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
    written: dict[str, tuple[str, ...]] = {}
    for name, draw in figures.items():
        if name in shown or not (shown or only_shown):
            with matplotlib.rc_context(MATPLOTLIB):
                files = dict(encode_pictures(name, draw()))
            for file, content in files.items():
                write_file(folder / FIGURES_FOLDER / file, content)
            written[name] = tuple(f"{FIGURES_FOLDER}/{file}" for file in files)
        else:  # it may be there from an earlier time
            for file in list_picture_files(name):
                (folder / FIGURES_FOLDER / file).unlink(missing_ok=True)
    return written


def _list_files(figures: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [file for files in figures.values() for file in files]


def _finish(folder: Path, names: Sequence[str], studies: Sequence[Path]) -> Published:
    """Renew the pages of all that was published; only now, because a table may compare several studies."""
    pages = [page for study in studies for page in renew_pages(study) if page.name != TABLES_PAGE]
    return Published(
        folder=folder,
        files={name: (folder / name).stat().st_size for name in names},
        pages=tuple(dict.fromkeys(pages)),
    )


def _list_tables(results: Results, tables: list[str], figures: list[str], folder: Path) -> str:
    """A page with every table and figure, as blocks to copy into another page."""
    blocks = [f"## {TABLES[name].title}\n\n<!-- table: {name} -->\n<!-- end -->\n" for name in tables]
    blocks += [
        f"## {capitalized(name.replace('-', ' '))}\n\n<!-- figure: {name} -->\n<!-- end -->\n" for name in figures
    ]
    title = f"# {results.study}: tables and figures\n\nMade from results.json; edits are lost.\n"
    return render_page("\n".join([title, *blocks]), folder)
