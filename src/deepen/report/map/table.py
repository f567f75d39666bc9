"""The cells of a map as CSV, one line per cell, for tables and plots of the reader's own."""

import csv
import io
from typing import Any

from deepen.study.map.schema import MapCell, MapResults

_PAIRS = ("interval", "bounds", "seconds_interval", "difference_interval")


def encode_cells(found: MapResults) -> bytes:
    """The cells as CSV. Columns have the names of the keys in map.json, a pair has two; what is unknown is empty.

    Columns of the model begin with `model_`; recipe options are one column, such as `grow_at=0.5 start_depth=2`.
    """
    lines = [_line(cell) for cell in found.cells]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else ["model_name"])
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def _line(cell: MapCell) -> dict[str, Any]:
    line: dict[str, Any] = {}
    for name, value in cell.to_json().items():
        if name == "model":
            line |= {f"model_{key}": entry for key, entry in value.items()}
        elif name in _PAIRS:
            line[f"{name}_low"], line[f"{name}_high"] = value or (None, None)
        elif name == "options":
            line[name] = " ".join(f"{key}={entry}" for key, entry in value.items())
        elif name == "seeds":
            line[name] = " ".join(map(str, value))
        else:
            line[name] = value
    return line
