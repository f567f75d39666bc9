"""SVG figures that follow the screen: dark where a browser prefers dark, and white everywhere else.

Matplotlib writes colours into the `style` of each element. A style sheet in the figure replaces them, element by
element, under a media query that only a browser on a dark screen applies: in LaTeX, on paper and in other programs
the figure stays as it was drawn.
"""

import re

from deepen.report.style import DARK

_COLOUR = re.compile(r"(fill|stroke): (#[0-9a-f]{6})")
_DARKEST, _LIGHTEST = 0x17, 0xF2
"""The greys that replace white and black."""


def follow_screen(svg: str) -> str:
    """Add to a figure by matplotlib the colours that it has on a dark screen."""
    used = sorted({(kind, colour) for kind, colour in _COLOUR.findall(svg)})
    rules = "".join(
        f'[style*="{kind}: {colour}"]{{{kind}: {replaced} !important}}'
        for kind, colour in used
        if (replaced := darken(colour)) != colour
    )
    # Text has no colour of its own where it is black, and inherits that of the figure.
    sheet = (
        f"<style>@media screen and (prefers-color-scheme: dark){{svg{{fill: {darken('#000000')}}}{rules}}}</style>"
    )
    return svg.replace("</defs>", f"{sheet}</defs>", 1)


def darken_figure(svg: str) -> str:
    """A figure by matplotlib in the colours that it has on a dark screen, wherever it is shown."""
    dark = _COLOUR.sub(lambda found: f"{found[1]}: {darken(found[2])}", svg)
    # Text has no colour of its own where it is black, and inherits that of the figure.
    return dark.replace("<svg ", f'<svg fill="{darken("#000000")}" ', 1)


def darken(colour: str) -> str:
    """The colour on a dark screen: the page's for a colour of `DARK`, and the opposite grey for a grey."""
    known = {light.lower(): dark for light, dark in DARK.items()}
    if colour in known:
        return known[colour]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    if not red == green == blue:
        return colour
    grey = round(_LIGHTEST - (_LIGHTEST - _DARKEST) * red / 255)
    return f"#{grey:02x}{grey:02x}{grey:02x}"
