"""Colours, dashes and matplotlib's settings, shared by the page and the static figures."""

from typing import Any

from deepen.report.roles import ADDED_COLOUR, DARK_ADDED_COLOUR, ROLE_STYLES

BASELINE_COLOUR = "#1a1a1a"
UNKNOWN_COLOUR = "#555555"
"""The colour of a verdict whose arm is missing from the results."""

# Okabe & Ito's colour-blind-safe palette without its yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")

_DARK_COLOURS = ("#3D95DA", "#F0843C", "#2EBD93", "#DD93BC", "#9AD8FA", "#F2B53A")

DARK = {
    BASELINE_COLOUR: "#f2f2ee",
    UNKNOWN_COLOUR: "#a5a5a0",
    "#ffffff": "#171715",
    **dict(zip(COLOURS, _DARK_COLOURS, strict=True)),
    **{style.colour: style.dark_colour for style in ROLE_STYLES.values()},
    ADDED_COLOUR: DARK_ADDED_COLOUR,
}
"""The colours of the page that differ on a dark screen, with what replaces them there."""

DASHES = ("solid", "dash", "dot", "dashdot")
"""Plotly's names. When all colours are used, they are repeated with the next dash."""

LINE_STYLES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 1.6)),
    "dot": (0, (1, 1.3)),
    "dashdot": (0, (4, 1.4, 1, 1.4)),
}
"""The same dashes in matplotlib's notation."""


def themed(colour: str) -> str:
    """A colour of `DARK` as a variable of the page's style sheet, which depends on the screen."""
    return f"var({variable_name(colour)})" if colour in DARK else colour


def variable_name(colour: str) -> str:
    """The name of a colour's variable in the style sheet."""
    return f"--c-{colour[1:].lower()}"


MATPLOTLIB: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so the figure is the same on every machine
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "axes.linewidth": 0.7,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # the name of an arm may contain a dollar sign
    "svg.hashsalt": "deepen",
}
