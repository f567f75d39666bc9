"""The table of `deepen plan STUDY` that shows what so many seeds could tell."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepen.cli.output.tables import numbers, print_sentences, print_table, text
from deepen.study.judge.planned_power import Detectable, PlannedPower


def describe_power(powers: Sequence[PlannedPower], folder: Path) -> list[dict[str, Any]]:
    """The same for a script."""
    return [
        {
            "spreads": power.spreads or str(folder),
            "arms_std": power.noise.arms_std,
            "baseline_std": power.noise.baseline_std,
            "shared_std": power.noise.shared_std,
            "slope": power.noise.slope,
            "arms": power.noise.arms,
            "detectable": [each.to_json() for each in power.detectable],
        }
        for power in powers
    ]


def print_power(powers: Sequence[PlannedPower], seeds: int, looks: Sequence[int], folder: Path) -> None:
    """Print the smallest multipliers that numbers of seeds can detect.

    Args:
        powers: by the spreads; nothing is printed if there are none.
        seeds: of the study.
        looks: the numbers of seeds with which verdicts were written.
        folder: where its spreads were measured, if they were.
    """
    if not powers:
        return
    columns = [power.spreads or f"spreads of {folder}" for power in powers]
    print_table(
        "What seeds can tell: the smallest multiplier that wins with probability 0.8 (half width in nats)",
        (text("seeds"), *(numbers(column) for column in columns)),
        (
            (_describe_seeds(row[0], seeds), *(_describe_power(each) for each in row))
            for row in zip(*(power.detectable for power in powers), strict=True)
        ),
    )
    noise = powers[0].noise
    intervals = "The interval holds" if noise.arms == 1 else f"The {noise.arms} intervals hold together"
    confidence = next((each.confidence for each in powers[0].detectable if each.seeds == seeds), 0.95)
    sentences = [f"{intervals} with {100 * confidence:.4g} %. {_describe_spreads(powers)}"]
    if powers[0].detectable[0].multiplier is None:
        sentences.append("No multiplier is claimed: the baseline is measured at one budget only.")
    if looks:
        sentences.append(
            f"Verdicts were written with {' and '.join(map(str, looks))} seeds. More seeds make a further "
            "look, whose intervals are wider."
        )
    print_sentences(sentences)


def _describe_seeds(detectable: Detectable, seeds: int) -> str:
    return f"{detectable.seeds}, planned" if detectable.seeds == seeds else str(detectable.seeds)


def _describe_power(detectable: Detectable) -> str:
    width = f"±{detectable.half_width:.3f}"
    if detectable.multiplier is None:
        return width
    return f"none ({width})" if math.isinf(detectable.multiplier) else f"{detectable.multiplier:.2f} ({width})"


def _describe_spreads(powers: Sequence[PlannedPower]) -> str:
    noise = powers[0].noise
    arms, slope = _nats(noise.arms_std or noise.shared_std), f"{noise.slope:.2g} nats per e-fold of compute"
    baselines = " or ".join(_nats(power.noise.baseline_std) for power in powers)
    if powers[0].spreads:
        return (
            f"Assumed, as in finished quickstarts: an arm's runs scatter by {arms} nats, the baseline's by "
            f"{baselines}, and its loss falls by {slope}. Once the study has run, its own spreads are used."
        )
    return (
        f"Measured there: an arm's runs scatter by {arms} nats, the baseline's by {baselines}, and its loss falls "
        f"by {slope}."
    )


def _nats(std: float | None) -> str:
    return "an unknown amount" if std is None else f"{std:.4f}"
