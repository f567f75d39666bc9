"""Figures for a page in Markdown: compact SVG, one file for light and one for dark screens.

Text stays text, in a common font or one like it, and coordinates have one decimal.
"""

import re
from collections.abc import Iterator

import matplotlib
from matplotlib.figure import Figure

from deepen.report.figures.dark_svg import darken_figure
from deepen.report.figures.save import encode_figure

_DARK_SUFFIX = "-dark"

_UNNEEDED = re.compile(
    r"""\ *<metadata>.*?</metadata>\n            # the program that drew it
    |(?<=<g)\ id="\w+"                           # names of groups
    |\ transform="rotate\(-0\ [^"]*"             # text that is not turned
    |(?<=px;)\ font-family:\ 'DejaVu\ Sans';     # the same for all text: in the style sheet
    |^\ +                                        # indentation
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_STYLE = '<style type="text/css">'
_FONTS = "text{font-family: 'DejaVu Sans', Verdana, sans-serif}"
_COORDINATES = re.compile(r'\b(?:d|x|y|x1|x2|y1|y2|width|height|points)="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d{2,}")


def encode_pictures(name: str, figure: Figure) -> Iterator[tuple[str, bytes]]:
    """The files of a figure with their content, reproducible to the byte."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        svg = shrink_svg(encode_figure(figure, "svg").decode())
    yield from zip(list_picture_files(name), (svg.encode(), darken_figure(svg).encode()), strict=True)


def list_picture_files(name: str) -> tuple[str, str]:
    """The names of the files of a figure, for light and for dark screens."""
    return f"{name}.svg", f"{name}{_DARK_SUFFIX}.svg"


def shrink_svg(svg: str) -> str:
    """A figure by matplotlib without what no reader sees."""
    short = _UNNEEDED.sub("", svg).replace(_STYLE, _STYLE + _FONTS, 1)
    return _COORDINATES.sub(lambda drawn: _NUMBER.sub(_round, drawn[0]).replace(" \n", "\n"), short)


def _round(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")
