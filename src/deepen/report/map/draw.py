"""Draw a map: its page, its figures and its table.

page = draw_map(load_map("deepen-runs/map"), "deepen-runs/map")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepen.study.map.schema import MapResults


def draw_map(found: MapResults, folder: Path | str) -> Path:
    """Draw the report of a map into its folder and return the path of the page.

    Writes map.csv and `report/figures/*` first and `report/index.html` last; a reader never sees a part of a file.
    """
    # Imported here because the drawing libraries take a second to import.
    from deepen.report.files import write_file
    from deepen.report.map.figure import write_map_figures
    from deepen.report.map.page import render_map
    from deepen.report.map.table import encode_cells

    folder = Path(folder)
    write_file(folder / "map.csv", encode_cells(found))
    figures = write_map_figures(found, folder / "report" / "figures")
    page = folder / "report" / "index.html"
    write_file(page, render_map(found, ("../map.csv", *(f"figures/{name}" for name in figures))).encode())
    return page
