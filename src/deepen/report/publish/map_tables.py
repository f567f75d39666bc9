"""Tables of a map, for pages of results: a function for each, by name in `MAP_TABLES`."""

from collections.abc import Callable, Mapping

from deepen.report.map.grid import Square, make_grids
from deepen.report.map.words import describe_laws, describe_map, describe_scope, describe_withheld
from deepen.report.publish.markdown import MarkdownTable, Sentences, escape_markdown
from deepen.report.units import count
from deepen.study.map.schema import MapResults


def cell_table(found: MapResults) -> MarkdownTable | None:
    """The multiplier of each arm, model and budget, with `Square.mark`."""
    grids = make_grids(found)
    if not grids:
        return None
    budgets = [f"{budget} tokens per parameter" for budget in grids[0].budgets]
    return MarkdownTable(
        columns=("arm", "model", "parameters", *budgets),
        rows=[
            (
                escape_markdown(grid.arm),
                escape_markdown(model.name),
                count(model.parameters_non_embedding),
                *map(_cell_text, squares),
            )
            for grid in grids
            for model, squares in grid.rows
        ],
        text_columns=("model",),
    )


def _cell_text(square: Square) -> str:
    cell = square.cell
    if cell is None:
        return ""
    parts = [] if cell.multiplier is None else [square.multiplier]
    if square.interval and cell.bound is None:
        parts.append(f"({square.interval})" if parts else square.interval)
    return " ".join([*parts, square.mark]).rstrip()


def list_map_sentences(found: MapResults) -> Sentences | None:
    """What was found, on what, and why cells have no multiplier."""
    sentences = [describe_map(found), describe_scope(found), *describe_withheld(found)]
    return Sentences(tuple(escape_markdown(sentence) for sentence in sentences if sentence))


def list_laws(found: MapResults) -> Sentences | None:
    """The law of each arm in a sentence; None where none is fitted."""
    laws = describe_laws(found)
    return Sentences(tuple(escape_markdown(law) for law in laws)) if laws else None


MAP_TABLES: Mapping[str, Callable[[MapResults], MarkdownTable | Sentences | None]] = {
    "map-cells": cell_table,
    "map-sentences": list_map_sentences,
    "map-laws": list_laws,
}
"""The tables of a map by name."""
