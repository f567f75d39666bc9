"""What a study could detect with so many seeds, before it is run.

plan_power(plan_study(study), find_results(folder))     # from the spreads of a study that has run there
plan_power(plan_study(study), None)                     # from reference spreads
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from deepen.compute.accounting import EXACT_FLOPS
from deepen.study.compile.study_plan import StudyPlan
from deepen.study.judge.looks import SeedPlan
from deepen.study.judge.power import expected_noise, with_seeds
from deepen.study.judge.verdicts import joint_confidence, judge
from deepen.study.results.schema import Results
from deepen.study.results.verdict_schema import Noise

PLANNED_SEEDS = (2, 3, 5, 8)

REFERENCE_ARMS_STD, REFERENCE_SLOPE = 0.0191, 0.26
"""The arms' own spread and the baseline's slope in a finished quickstart, in nats per token."""

REFERENCE_BASELINES = {"a quiet baseline": 0.0022, "a noisy baseline": 0.0191}
"""The baseline's own spread, in nats per token: that of a finished quickstart, and that of its arms."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detectable:
    """What a study could tell with a number of seeds.

    Attributes:
        seeds: the number of seeds.
        confidence: of all intervals together; more than 0.95 if it would be a further look.
        half_width: half width of an interval of a difference in loss, in nats per token.
        multiplier: the smallest true multiplier that wins with probability 0.8; None if the baseline is measured
            at one budget only, infinite if no multiplier is large enough.
    """

    seeds: int
    confidence: float
    half_width: float
    multiplier: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields; an infinite multiplier is None."""
        multiplier = None if self.multiplier is None or math.isinf(self.multiplier) else self.multiplier
        return {
            "seeds": self.seeds,
            "confidence": self.confidence,
            "half_width": self.half_width,
            "multiplier": multiplier,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPower:
    """What a study could tell if runs scatter as stated.

    Attributes:
        spreads: what the spreads are of; empty if they were measured in the study itself.
        noise: the spreads, for the study's number of arms and budgets.
        detectable: by number of seeds, rising.
    """

    spreads: str
    noise: Noise
    detectable: tuple[Detectable, ...]


def plan_power(plan: StudyPlan, before: Results | None) -> tuple[PlannedPower, ...]:
    """What a study could tell: from the spreads that it has measured before, else from several reference spreads.

    Args:
        plan: the study's marks.
        before: the results in its folder; None if there are none.

    Returns:
        None at all if no arm is compared with the baseline.
    """
    baseline = plan.study.baseline
    exact = [mark for mark in plan.marks if mark.mark.accounting == EXACT_FLOPS]
    arms = len({mark.arm for mark in exact if mark.arm != baseline and mark.mark.budget_share == 1.0})
    budgets = len({mark.mark.budget_share for mark in exact if mark.arm == baseline})
    if not arms:
        return ()
    measured = None if before is None else _measured_noise(before)
    if measured is not None:
        spreads = {"": replace(measured, arms=arms)}
    else:
        spreads = {
            name: expected_noise(
                arms_std=REFERENCE_ARMS_STD,
                baseline_std=baseline_std,
                slope=REFERENCE_SLOPE,
                arms=arms,
                seeds=2,
                budgets=budgets,
            )
            for name, baseline_std in REFERENCE_BASELINES.items()
        }
    planned = SeedPlan.continued(plan.study, before)
    seeds = sorted({*PLANNED_SEEDS, max(2, planned.seeds, len(plan.study.seeds))})
    return tuple(
        PlannedPower(
            spreads=name, noise=noise, detectable=tuple(_detectable(noise, seeds, planned.looks, budgets))
        )
        for name, noise in spreads.items()
    )


def _detectable(noise: Noise, seeds: list[int], looks: tuple[int, ...], budgets: int) -> Iterator[Detectable]:
    for count in seeds:
        earlier = sum(look < count for look in looks)
        confidence = joint_confidence(earlier + 1, max(earlier + 1, len(looks)))
        expected = with_seeds(replace(noise, confidence=confidence), count)
        yield Detectable(
            seeds=count,
            confidence=confidence,
            half_width=expected.half_width or 0.0,
            multiplier=expected.detectable_multiplier if budgets > 1 else None,
        )


def _measured_noise(results: Results) -> Noise | None:
    """The noise of a study that has verdicts; None if it has none, or no spread or slope is known."""
    if not results.verdicts:
        return None
    noise = results.noise
    if noise.shared_std is None:  # older versions measured it in another way
        _, noise = judge(results.arms, results.baseline)
    return None if noise.shared_std is None or noise.slope is None else noise
