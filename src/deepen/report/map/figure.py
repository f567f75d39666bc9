"""The heat maps of a map as a figure for a paper, and one for a dark page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deepen.report.figures.save import encode_figure
from deepen.report.files import write_file
from deepen.report.map.grid import Grid, make_grids
from deepen.report.style import MATPLOTLIB
from deepen.report.units import count, cut
from deepen.study.map.schema import MapResults

_MAX_COLUMNS = 2
_LONG_NUMBER = 11  # characters in a square, from which on they are smaller


@dataclass(frozen=True, kw_only=True, slots=True)
class _Theme:
    """The colours of a figure."""

    paper: str
    ink: str
    soft: str
    hatch: str
    loss: str
    gain: str

    @property
    def colours(self) -> LinearSegmentedColormap:
        """From a loss over no effect to a gain."""
        return LinearSegmentedColormap.from_list("multiplier", [self.loss, self.paper, self.gain])


_THEMES: Mapping[str, _Theme] = {
    "map": _Theme(paper="#ffffff", ink="#1d1d1b", soft="#5c5c58", hatch="#a8a8a2", loss="#e59a5f", gain="#6fa8d6"),
    "map-dark": _Theme(
        paper="#171715", ink="#ecece8", soft="#a6a6a0", hatch="#6a6a64", loss="#8a4f26", gain="#27618f"
    ),
}
"""Themes by the name of their files."""


def write_map_figures(found: MapResults, folder: Path) -> tuple[str, ...]:
    """Draw the heat maps into a folder, as PNG and SVG, light and dark; returns the names of the files."""
    files = encode_map_figures(found, ("png", "svg"))
    for name, content in files.items():
        write_file(folder / name, content)
    return tuple(files)


def encode_map_figures(found: MapResults, kinds: Sequence[str]) -> dict[str, bytes]:
    """The heat maps, light and dark, as files by name; none where nothing is compared.

    Args:
        found: the map.
        kinds: `png`, `svg` or both.
    """
    grids = make_grids(found)
    if not grids:
        return {}
    files = {}
    for name, theme in _THEMES.items():
        with matplotlib.rc_context({**MATPLOTLIB, "hatch.color": theme.hatch, "hatch.linewidth": 0.8}):
            figure = _draw(grids, theme)
            for kind in kinds:
                files[f"{name}.{kind}"] = encode_figure(figure, kind, paper=theme.paper)
    return files


def _draw(grids: tuple[Grid, ...], theme: _Theme) -> Figure:
    columns = min(_MAX_COLUMNS, len(grids))
    rows = -(-len(grids) // columns)
    height = 1.0 + 0.5 * len(grids[0].rows)
    figure = Figure(figsize=(0.4 + 3.9 * columns, height * rows + 0.3), layout="constrained")
    for axes, grid in zip(figure.subplots(rows, columns, squeeze=False).flat, grids, strict=False):
        _draw_grid(axes, grid, theme)
    for axes in figure.axes[len(grids) :]:
        axes.remove()
    figure.supxlabel("tokens per parameter (full training)", fontsize=8, color=theme.soft)
    return figure


def _draw_grid(axes: Axes, grid: Grid, theme: _Theme) -> None:
    """Draw one heat map: colour and number of each square, hatches, and the line of breaking even."""
    colours, n = theme.colours, len(grid.rows)
    axes.set_facecolor(theme.paper)
    for row, (_, squares) in enumerate(grid.rows):
        for column, square in enumerate(squares):
            if square.cell is None:
                continue
            axes.add_patch(
                Rectangle(
                    (column, row),
                    1,
                    1,
                    facecolor=colours(0.5 + 0.5 * square.strength),
                    edgecolor=theme.hatch if square.is_hatched else theme.paper,
                    hatch="////" if square.is_hatched else None,
                    linewidth=0,
                )
            )
            weight = "normal" if square.is_hatched else "bold"
            box = {"facecolor": colours(0.5 + 0.5 * square.strength), "edgecolor": "none", "pad": 1.2}
            label: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "color": theme.ink,
                "bbox": box if square.is_hatched else None,
            }
            number = f"{square.multiplier} {square.mark}".rstrip()
            size = None if len(number) < _LONG_NUMBER else 6.5
            axes.text(column + 0.5, row + 0.38, number, weight=weight, fontsize=size, **label)
            axes.text(column + 0.5, row + 0.74, square.interval, fontsize=5.6, **label)
            if square.break_even_right:
                axes.plot([column + 1] * 2, [row, row + 1], color=theme.ink, lw=2.2, solid_capstyle="projecting")
            if square.break_even_below:
                axes.plot(
                    [column, column + 1], [row + 1] * 2, color=theme.ink, lw=2.2, solid_capstyle="projecting"
                )
    axes.set(xlim=(0, len(grid.budgets)), ylim=(n, 0), xticks=[i + 0.5 for i in range(len(grid.budgets))])
    axes.set_xticklabels(grid.budgets)
    axes.set_yticks([i + 0.5 for i in range(n)])
    axes.set_yticklabels(
        [f"{cut(model.name, 14)}\n{count(model.parameters_non_embedding)}" for model, _ in grid.rows]
    )
    axes.set_title(cut(grid.arm, 40), color=theme.ink)
    axes.grid(visible=False)
    axes.tick_params(length=0, colors=theme.soft)
    axes.spines[["left", "bottom"]].set_visible(False)
