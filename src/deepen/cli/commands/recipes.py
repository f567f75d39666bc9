"""`deepen recipes`: what there is to choose from."""

import inspect
import json
from pathlib import Path
from typing import Any

from deepen.cli.output.schedule_words import describe_schedule, draw_schedule
from deepen.cli.output.tables import print_sentences, print_table, text
from deepen.cli.requests.command import as_flag
from deepen.cli.requests.recipes import RecipesRequest
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS, UNTIE
from deepen.model.presets import PRESETS
from deepen.schedule.partition import POLICIES
from deepen.schedule.rate import RATES
from deepen.schedule.recipe import Recipe
from deepen.schedule.recipes import RECIPES
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TRAINABLE_SETS


def run(request: RecipesRequest) -> int:
    """Print the list."""
    if request.figures is not None:
        _draw_figures(request.figures)
    listing = list_choices()
    if request.as_json:
        print(json.dumps(listing, indent=1))
        return 0
    print_table(
        f"recipes, on {EXAMPLE.depth} blocks",
        (text("recipe"), text("over the run"), text("what"), text("options")),
        (
            (
                name,
                "\n".join(f"{bars} {counted}" for counted, bars in entry["bars"].items()),
                "\n".join(filter(None, (entry["summary"], f"Promise: {entry['promise']}.", entry["source"]))),
                " ".join(map(as_flag, entry["options"])),
            )
            for name, entry in listing["recipes"].items()
        ),
        droppable=("options",),
    )
    for title, entries in listing.items():
        if title != "recipes":
            pairs = entries.items() if isinstance(entries, dict) else ((entry, "") for entry in entries)
            lines = [f"  {name}: {_in_line(entry)}" if entry else f"  {name}" for name, entry in pairs]
            print_sentences([title])
            print_sentences([*lines, ""], indent=4)
    return 0


def _draw_figures(folder: Path) -> None:
    """Draw NAME.png for each recipe."""
    from deepen.report.figures.plan_figure import draw_schedule as draw_figure  # seconds to import

    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        draw_figure(make_example(recipe), f"{name}, {EXAMPLE.depth} blocks", folder / f"{name}.png")


_ALL_OPERATORS = (*OPERATORS.values(), UNTIE)

EXAMPLE = PRESETS["nano"]
"""The model on which recipes are shown, with the recipes' own defaults."""


def make_example(recipe: Recipe) -> Schedule:
    """A recipe's schedule on the model of the list, with a staged part of two thirds of the tokens."""
    return recipe.schedule(EXAMPLE, 3 * 10**6, 2 * 10**6, {})


def list_choices() -> dict[str, Any]:
    """All that can be chosen, by kind, with what each is."""
    return {
        "recipes": {
            name: {
                "summary": recipe.summary,
                "promise": describe_schedule(schedule),
                "source": recipe.source,
                "bars": dict(draw_schedule(schedule)),
                "options": list(recipe.options),
            }
            for name, recipe in RECIPES.items()
            for schedule in (make_example(recipe),)
        },
        **{
            f"presets of {name}": {preset: dict(options) for preset, options in recipe.presets.items()}
            for name, recipe in RECIPES.items()
            if recipe.presets
        },
        "scopes": list(TRAINABLE_SETS),
        "partitions": list(POLICIES),
        "operators": {operator.name: operator.summary for operator in _ALL_OPERATORS},
        "promises of operators": {operator.name: operator.promise for operator in _ALL_OPERATORS},
        "placements": list(PLACEMENTS),
        "moments": {name: policy.summary for name, policy in MOMENT_POLICIES.items()},
        "rates": {name: (inspect.getdoc(rate) or "").split("\n\n")[0] for name, rate in RATES.items()},
    }


def _in_line(entry: object) -> str:
    if isinstance(entry, dict):
        return ", ".join(f"{name} {value}" for name, value in entry.items())
    return str(entry).replace("\n", " ")
