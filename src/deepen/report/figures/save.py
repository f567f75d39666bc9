"""Figures as files, reproducible to the byte."""

import io
import warnings

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def encode_figure(figure: Figure, kind: str, *, paper: str = "white") -> bytes:
    """A figure as a file; a character that the font lacks, such as an emoji in an arm's name, is drawn as a box.

    Args:
        figure: the figure.
        kind: `png`, at 200 dpi, or `svg`.
        paper: the colour of its background.
    """
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(content, format=kind, dpi=200, metadata=metadata, facecolor=paper)
    return content.getvalue()
