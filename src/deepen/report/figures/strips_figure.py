"""The figure of what each arm does: the strips of the page, one above the other."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from deepen.report.figures.strips import STRIP_WIDTH, Strips
from deepen.report.layout import legend_label
from deepen.report.roles import ADDED_COLOUR, ROLE_STYLES

_GAP = 0.35
"""The distance between strips, as a share of their height."""


def draw_strips_figure(strips: Strips) -> Figure:
    """Draw the strips of all arms over their tokens; there must be at least one."""
    count, pitch = len(strips.strips), strips.height * (1 + _GAP)
    figure = Figure(figsize=(7.2, 0.9 + 0.42 * count), layout="constrained")
    axes = figure.subplots()
    for nth, strip in enumerate(strips.strips):
        below = -nth * pitch
        for bar in strip.bars:
            corner = (bar.left, below - bar.top - bar.height)
            colour = ROLE_STYLES[bar.role].colour
            alpha = 0.55 if bar.is_repeat else None
            axes.add_patch(Rectangle(corner, bar.width, bar.height, facecolor=colour, alpha=alpha, lw=0))
        for added in strip.added:
            top = below - added.top
            axes.plot([added.left] * 2, [top - added.height, top], color=ADDED_COLOUR, lw=2, solid_capstyle="butt")
    axes.set_xlim(0, STRIP_WIDTH)
    axes.set_ylim(-(count - 1) * pitch - strips.height, 0)
    axes.set_yticks(
        [-nth * pitch - strips.height / 2 for nth in range(count)],
        [legend_label(strip.arm.name) for strip in strips.strips],
        color="#222222",
    )
    axes.set_xticks([place for place, _ in strips.ticks], [label for _, label in strips.ticks])
    axes.set_xlabel("training tokens")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    handles = [Patch(facecolor=ROLE_STYLES[role].colour, label=label) for role, label in strips.roles.items()]
    added_line = Line2D([], [], color=ADDED_COLOUR, lw=2, label="blocks added")
    legend = [*handles, added_line] if strips.has_added else handles
    figure.legend(handles=legend, loc="outside lower left", ncols=4, columnspacing=1.6)
    return figure
