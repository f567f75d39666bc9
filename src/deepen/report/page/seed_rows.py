"""The table of seeds: each arm's losses at equal compute, and its differences from the baseline, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from deepen.report import units
from deepen.report.summary.study_summary import ArmSummary, StudySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRow:
    """An arm's losses at equal compute and its differences from the baseline: of each seed, and on average."""

    arm: str
    colour: str
    losses: tuple[str, ...]
    differences: tuple[str, ...]


def make_seed_rows(study: StudySummary) -> list[SeedRow]:
    """The rows of the table of seeds; one column for each seed of the baseline, then the mean."""
    baseline = study.baseline
    reference = baseline.losses_at_equal_compute if baseline else {}
    if len(reference) < 2:
        return []
    measured = [(arm, arm.losses_at_equal_compute) for arm in study.arms]
    differences = [
        loss - reference[seed] for _, losses in measured for seed, loss in losses.items() if seed in reference
    ]
    places = units.decimal_places([each for each in differences if each])
    return [_seed_row(arm, losses, reference, places) for arm, losses in measured if losses]


def _seed_row(
    arm: ArmSummary, losses: Mapping[int, float], reference: Mapping[int, float], places: int
) -> SeedRow:
    found = [losses.get(seed) for seed in reference]
    differences = [
        None if loss is None else loss - base for loss, base in zip(found, reference.values(), strict=True)
    ]
    return SeedRow(
        arm=arm.name,
        colour=arm.colour,
        losses=tuple(units.fixed(loss, max(places, 3)) for loss in (*found, _mean_of_all(found))),
        differences=tuple(
            "" if arm.is_baseline else units.signed(each, places)
            for each in (*differences, _mean_of_all(differences))
        ),
    )


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    """The mean; None unless all values are known, so that means are over the same seeds."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
