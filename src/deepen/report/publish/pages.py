"""Blocks of a hand-written page in Markdown that are filled from published results, so that no number is typed.

    <!-- table: winner/verdicts -->
    | arm | loss | ...
    <!-- end -->

    <!-- figure: winner/budgets -->
    <picture> ...
    <!-- end -->

`winner` is the folder of a published study, relative to the page, and `verdicts` one of `TABLES`. What is between
the two comments is replaced. Where the page is in the folder itself, the block is called `verdicts` alone.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path, PurePosixPath

from deepen.errors import InvalidValueError, join_or
from deepen.report.files import write_file
from deepen.report.publish.map_tables import MAP_TABLES
from deepen.report.publish.markdown import embed_figure
from deepen.report.publish.pictures import list_picture_files
from deepen.report.publish.tables import GROUP_TABLES, TABLES
from deepen.study.map.schema import load_map
from deepen.study.results.results_file import RESULTS_FILE, load_results
from deepen.study.results.schema import Results

FIGURES_FOLDER = "figures"
MAX_LEVELS = 3
"""How many folders above a published study pages with its blocks are looked for."""

_OTHER_BYTES = "surrogateescape"
"""How bytes of a page that are not UTF-8 are read, and written as they were: any page above may be looked at."""

_BEGIN = re.compile(r"<!-- (?:table|figure): \S+ -->")
_BLOCK = re.compile(r"<!-- (table|figure): (\S+) -->\n((?:(?!<!-- (?:table|figure): ).)*?)<!-- end -->", re.S)


def render_page(text: str, folder: Path, study: Path | None = None) -> str:
    """A page with its blocks filled.

    Args:
        text: the page.
        folder: the folder of the page, to which the names of its blocks are relative.
        study: the published study whose blocks are filled, and those of its folder; None for all blocks.

    Raises:
        InvalidValueError: a block has no end, or names a table that there is not, or one without content.
        ResultsError: the folder of a block has no published results.
    """

    def fill(found: re.Match[str]) -> str:
        if study is not None and not _shows(folder / found[2], study):
            return found[0]
        return f"<!-- {found[1]}: {found[2]} -->\n{_fill(found[1], found[2], folder)}\n<!-- end -->"

    if len(_BEGIN.findall(text)) != len(_BLOCK.findall(text)):
        whole = {f"<!-- {kind}: {name} -->" for kind, name, _ in _BLOCK.findall(text)}
        open_block = next((begin for begin in _BEGIN.findall(text) if begin not in whole), "a block")
        raise InvalidValueError(
            f"{open_block} has no end", remedy="write <!-- end --> on a line of its own below it"
        )
    return _BLOCK.sub(fill, text)


def _shows(block: Path, study: Path) -> bool:
    """Whether a block is about a published study, or about the studies of its folder."""
    return block.resolve().parent in (study.resolve(), study.resolve().parent)


def find_figures(pages: Iterable[Path], study: Path) -> set[str]:
    """Names of the figures of a published study that pages show."""
    return {
        PurePosixPath(name).name
        for page in pages
        for kind, name, _ in _BLOCK.findall(_read_page(page))
        if kind == "figure" and (page.parent / name).resolve().parent == study.resolve()
    }


def find_pages(study: Path) -> Iterator[Path]:
    """The pages with blocks of a published study: in its folder, and in the three folders above."""
    study = study.resolve()
    for folder in (study, *study.parents[:MAX_LEVELS]):
        for page in sorted(filter(Path.is_file, folder.glob("*.md"))):
            blocks = _BLOCK.findall(_read_page(page))
            if any(_shows(folder / name, study) for _, name, _ in blocks):
                yield page


def renew_pages(study: Path) -> tuple[Path, ...]:
    """Fill the blocks that show a published study, on all pages; returns the pages.

    Raises: as `render_page`, with the page in the problem.
    """
    renewed = {}
    for page in find_pages(study):
        try:
            renewed[page] = render_page(_read_page(page), page.parent, study)
        except InvalidValueError as error:
            raise InvalidValueError(f"{page}: {error.problem}", remedy=error.remedy) from None
    for page, text in renewed.items():
        write_file(page, text.encode(errors=_OTHER_BYTES))
    return tuple(renewed)


def _read_page(page: Path) -> str:
    return page.read_text(encoding="utf-8", errors=_OTHER_BYTES)


def _fill(kind: str, name: str, folder: Path) -> str:
    path = folder / name
    return _embed(name) if kind == "figure" else render_table(path.parent, path.name)


def _embed(name: str) -> str:
    path = PurePosixPath(name)
    light, dark = (str(path.parent / FIGURES_FOLDER / file) for file in list_picture_files(path.name))
    return embed_figure(light, dark, escape(path.name.replace("-", " ")))


def find_group(folder: Path) -> list[Path]:
    """The folders in a folder that have the results of a study."""
    return sorted(path.parent for path in folder.glob(f"*/{RESULTS_FILE}"))


def load_group(folder: Path) -> list[Results]:
    """The results of the studies in a folder.

    Raises:
        ResultsError: one of them is damaged.
    """
    return [load_results(path) for path in find_group(folder)]


def render_table(study: Path, name: str) -> str:
    """A table of a published study, of the studies in a folder, or of a map, as Markdown.

    Raises:
        InvalidValueError: there is no such table, or the study has nothing for it.
        ResultsError: the folder has no published results.
    """
    names = (*TABLES, *GROUP_TABLES, *MAP_TABLES)
    if name not in names:
        raise InvalidValueError(
            f"{name!r} is not a table of results", value=name, allowed=names, remedy=f"use {join_or(names)}"
        )
    made: object
    if name in GROUP_TABLES:
        made = GROUP_TABLES[name](load_group(study))
    elif name in MAP_TABLES:
        made = MAP_TABLES[name](load_map(study))
    else:
        made = TABLES[name].make(load_results(study))
    if made is None:
        raise InvalidValueError(
            f"{study.name} has nothing for the table {name!r}", value=name, remedy="leave the block out"
        )
    return str(made)
