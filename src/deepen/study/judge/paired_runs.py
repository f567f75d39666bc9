"""The measured marks of a study's arms, paired with the baseline's by budget and by seed.

pairing = pair_runs(arms, "full")
pairing.references[1.0]      # the baseline at the study's budget, by seed
pairing.complete             # the marks of arms that can be compared
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deepen.compute.accounting import EXACT_FLOPS
from deepen.study.judge.multiplier import SAME_BUDGET
from deepen.study.judge.strata import Losses
from deepen.study.results.schema import ArmResult, MarkResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """An arm with one seed at a mark."""

    arm: ArmResult
    mark: MarkResult
    val_loss: float


class MarkKey(NamedTuple):
    """A mark of an arm, whatever the seed; the budget is a share of the study's."""

    arm: str
    accounting: str
    budget_share: float

    @property
    def is_exact(self) -> bool:
        """Whether compute is counted in exact FLOPs."""
        return self.accounting == EXACT_FLOPS


BySeed = Mapping[int, Measured]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """What can be compared.

    Attributes:
        references: the baseline at exact FLOPs, by share of the study's budget, ascending, and by seed.
        complete: the marks of the other arms that were measured with the same seeds as the baseline.
    """

    references: Mapping[float, BySeed]
    complete: Mapping[MarkKey, BySeed]

    def reference(self, share: float) -> BySeed:
        """The baseline at a budget; empty if it was not measured there."""
        found = self.find_share(share)
        return {} if found is None else self.references[found]

    def find_share(self, share: float) -> float | None:
        """The budget of the baseline that is the same as the given one, apart from rounding."""
        nearest = min(self.references, key=lambda each: abs(each / share - 1), default=None)
        return nearest if nearest is not None and abs(nearest / share - 1) < SAME_BUDGET else None

    def arms_at(self, share: float) -> list[MarkKey]:
        """The arms that can be compared at exact FLOPs at a budget."""
        return [key for key in self.complete if key.is_exact and abs(key.budget_share / share - 1) < SAME_BUDGET]

    @property
    def main_share(self) -> float:
        """The study's own budget, or, as long as no arm is measured there, the one at which most are."""
        shares = {key.budget_share for key in self.complete if key.is_exact}
        return max(shares, key=lambda share: (share == 1.0, len(self.arms_at(share)), share), default=1.0)


def pair_runs(arms: Sequence[ArmResult], baseline: str) -> Pairing:
    """Pair the marks of all arms with the baseline's."""
    measured = _measure_by_seed(arms, baseline)
    shares = sorted(key.budget_share for key in measured if key.arm == baseline and key.is_exact)
    pairing = Pairing(
        references={share: measured[MarkKey(baseline, EXACT_FLOPS, share)] for share in shares}, complete={}
    )
    complete = {
        key: by_seed
        for key, by_seed in measured.items()
        if key.arm != baseline and by_seed.keys() == pairing.reference(key.budget_share).keys()
    }
    return Pairing(references=pairing.references, complete=complete)


def losses_by_seed(rows: Sequence[BySeed], seeds: Sequence[int]) -> Losses:
    """The losses of marks as a table, (marks, seeds)."""
    return np.array([[row[seed].val_loss for seed in seeds] for row in rows], dtype=float)


def _measure_by_seed(arms: Sequence[ArmResult], baseline: str) -> dict[MarkKey, dict[int, Measured]]:
    """The measurements at every mark.

    If marks have no `budget_share`, the study's budget is the first budget of an arm other than the baseline.
    """
    others = (mark.budget_flops for arm in arms if arm.name != baseline for mark in arm.marks)
    whole = next((budget for budget in others if budget), 1.0)
    measured: dict[MarkKey, dict[int, Measured]] = defaultdict(dict)
    for arm in arms:
        for mark in arm.marks:
            if mark.val_loss is not None:
                share = (mark.budget_flops or whole) / whole if mark.budget_share is None else mark.budget_share
                if share > 0:
                    found = Measured(arm=arm, mark=mark, val_loss=mark.val_loss)
                    measured[MarkKey(arm.name, mark.accounting, share)][arm.seed] = found
    return measured
