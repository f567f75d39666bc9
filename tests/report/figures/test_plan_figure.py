"""The figure of a schedule: what is drawn covers each layer for as long as it exists."""

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from deepen.model.presets import PRESETS
from deepen.report.figures.plan_figure import draw_blocks
from deepen.schedule.recipes import RECIPES
from deepen.schedule.schedule import Schedule

MODEL = PRESETS["nano"]


def draw(recipe: str, **options: object) -> tuple[Schedule, Axes]:
    schedule = RECIPES[recipe].schedule(MODEL, 3_000_000, 2_000_000, options)
    axes = Figure().subplots()
    draw_blocks(axes, schedule, schedule.tokens)
    return schedule, axes


def areas(axes: Axes) -> dict[tuple[str, bool], float]:
    """The area in each colour, hatched or not, in layers times shares of the tokens."""
    found: dict[tuple[str, bool], float] = {}
    for drawn in axes.collections:
        (path,) = drawn.get_paths()
        box = path.get_extents()
        key = to_hex(drawn.get_facecolor()[0]), drawn.get_hatch() is not None
        found[key] = found.get(key, 0.0) + box.width * box.height
    return found


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_layer_is_drawn_as_long_as_it_exists(recipe: str):
    schedule, axes = draw(recipe)
    layers = sum(phase.depth * phase.tokens for phase in schedule.phases) / schedule.tokens
    assert sum(areas(axes).values()) == pytest.approx(layers)


def test_frozen_layers_and_repeated_blocks_can_be_told_apart():
    trained, grey = "#2166ac", "#d9d9d9"
    _, unfrozen = draw("unfreeze", stages=2, unfrozen_at=0.5)
    assert areas(unfrozen) == pytest.approx({(trained, False): 9.0, (grey, False): 3.0})
    _, looped = draw("loop-untie", loops=2, looped_blocks=4, untie_at=0.25)
    assert areas(looped) == pytest.approx({(trained, False): 11.0, (trained, True): 1.0})


def test_a_line_marks_the_blocks_that_growth_added():
    _, axes = draw("one-shot", start_depth=3, grow_at=0.5, operator="stack")
    added = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines]
    assert added == [(0.5, layer) for layer in range(3, 12)]


def test_a_dotted_line_marks_where_a_plateau_may_end_a_phase():
    _, axes = draw("one-shot", grow_at=0.5, grow_on="plateau:slope=0.2,earliest=0.4")
    (dotted,) = (line for line in axes.lines if line.get_linestyle() == ":")
    assert dotted.get_xdata()[0] == pytest.approx(0.2)
