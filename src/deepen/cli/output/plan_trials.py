"""The trials of a study in its plan: how many there are, what they cost, and what follows from them."""

from collections.abc import Iterator, Mapping
from typing import Any


def describe_trials(trials: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about the trials of a study's plan."""
    number, arms, seeds = trials["trials_per_arm"], ", ".join(trials["arms"]), trials["seeds"]
    each = "1 trial each" if number == 1 else f"{number} trials each"
    budget = "the full budget" if trials["share"] == 1 else f"{trials['share']:g} of the budget"
    with_seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    yield (
        f"Before the runs of the table, trials choose the rate of {arms}: {each}, with {with_seeds} and {budget}; "
        f"{trials['runs']} runs, {trials['flops']:.3g} FLOPs. The table has rates and options from before "
        "these choices."
    )
    if depths := trials["fixed_depths"]:
        yield (
            f"The best of the fixed depths {', '.join(map(str, sorted(depths)))} is the second baseline. It and "
            "the best of each smaller budget are trained too where the table has no such arm."
        )
