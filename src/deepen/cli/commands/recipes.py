"""`deepen recipes`: what there is to choose from."""

import inspect
import json
from typing import Any

from deepen.cli.output.tables import print_sentences, print_table, text
from deepen.cli.requests.command import as_flag
from deepen.cli.requests.recipes import RecipesRequest
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.schedule.partition import POLICIES
from deepen.schedule.rate import RATES
from deepen.schedule.recipes import RECIPES
from deepen.schedule.trainable import TRAINABLE_SETS


def run(request: RecipesRequest) -> int:
    """Print the list."""
    listing = list_choices()
    if request.as_json:
        print(json.dumps(listing, indent=1))
        return 0
    print_table(
        "recipes",
        (text("recipe"), text("what"), text("options")),
        (
            (
                name,
                "\n".join(filter(None, (recipe.summary, recipe.source))),
                " ".join(map(as_flag, recipe.options)),
            )
            for name, recipe in RECIPES.items()
        ),
    )
    for title, entries in listing.items():
        if title != "recipes":
            pairs = entries.items() if isinstance(entries, dict) else ((entry, "") for entry in entries)
            lines = [f"  {name}: {_in_line(entry)}" if entry else f"  {name}" for name, entry in pairs]
            print_sentences([title])
            print_sentences([*lines, ""], indent=4)
    return 0


def list_choices() -> dict[str, Any]:
    """All that can be chosen, by kind, with what each is."""
    return {
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
        "rates": {name: (inspect.getdoc(rate) or "").split("\n\n")[0] for name, rate in RATES.items()},
    }


def _in_line(entry: object) -> str:
    if isinstance(entry, dict):
        return ", ".join(f"{name} {value}" for name, value in entry.items())
    return str(entry).replace("\n", " ")
