"""`deepen recipes`: what there is to choose from."""

import inspect
import json
from collections.abc import Sequence

from deepen.cli.output.tables import print_lines, print_table
from deepen.cli.requests.options import Option, read_request
from deepen.cli.requests.shared import RECIPE_OPTIONS
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.schedule.partition import POLICIES
from deepen.schedule.rate import RATES
from deepen.schedule.recipes import RECIPES
from deepen.schedule.trainable import TRAINABLE_SETS


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    options = (Option(name="json", read=None, help="print as JSON"),)
    request = read_request("recipes", argv, options, what="", about="List recipes, operators and policies.")
    request.check()
    listing = {
        "recipes": {
            name: {"summary": recipe.summary, "source": recipe.source, "options": list(recipe.options)}
            for name, recipe in RECIPES.items()
        },
        **{
            f"presets of {name}": {preset: dict(options) for preset, options in recipe.presets.items()}
            for name, recipe in RECIPES.items()
            if recipe.presets
        },
        "scopes": list(TRAINABLE_SETS),
        "partitions": list(POLICIES),
        "operators": {name: operator.summary for name, operator in OPERATORS.items()},
        "placements": list(PLACEMENTS),
        "moments": {name: policy.summary for name, policy in MOMENT_POLICIES.items()},
        "rates": {name: _summary(rate) for name, rate in RATES.items()},
    }
    if request.get("json"):
        print(json.dumps(listing, indent=1))
        return 0
    known = {option.key: f"--{option.name}" for option in RECIPE_OPTIONS}
    print_table(
        "recipes",
        ("<recipe", "<what", "<options"),
        (
            (
                name,
                "\n".join(filter(None, (recipe.summary, recipe.source))),
                " ".join(known[option] for option in recipe.options if option in known),
            )
            for name, recipe in RECIPES.items()
        ),
    )
    for title in list(listing)[1:]:
        entries = listing[title]
        pairs = entries.items() if isinstance(entries, dict) else ((entry, "") for entry in entries)
        print_lines([title, *(f"  {name}{': ' if what else ''}{_plain(what)}" for name, what in pairs), ""])
    return 0


def _plain(what: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in what.items()) if isinstance(what, dict) else str(what)


def _summary(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")
