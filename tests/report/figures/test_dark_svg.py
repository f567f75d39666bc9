"""SVG figures on a dark screen."""

import io
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from deepen.report.figures.dark_svg import darken, follow_screen
from deepen.report.style import BASELINE_COLOUR, COLOURS


def draw() -> str:
    figure = Figure()
    axes = figure.subplots()
    for nth, colour in enumerate((BASELINE_COLOUR, *COLOURS)):
        axes.plot([0, 1], [nth, 1], color=colour, label=f"line {nth}")
    axes.legend()
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue()


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2)."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_figure_differs_only_on_a_dark_screen():
    svg = draw()
    dark = follow_screen(svg)
    ElementTree.fromstring(dark)
    [sheet] = re.findall(r"<style>(.*?)</style>", dark, flags=re.S)
    assert sheet.startswith("@media screen and (prefers-color-scheme: dark){") and sheet.count("@media") == 1
    assert dark.replace(f"<style>{sheet}</style>", "") == svg


def test_lines_stand_out_from_the_background_on_both_screens():
    for colour in (BASELINE_COLOUR, *COLOURS):
        light = (luminance("#ffffff") + 0.05) / (luminance(colour) + 0.05)
        dark = (luminance(darken(colour.lower())) + 0.05) / (luminance(darken("#ffffff")) + 0.05)
        assert light > 2 and dark > 4.5
    assert darken("#ffffff") < darken("#ececec") < darken("#555555") < darken("#000000")
