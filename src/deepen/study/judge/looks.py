"""Looks: with how many seeds verdicts were written, and how many were planned.

A study that is judged again with more seeds has another chance to find something by luck, so each look takes
more confidence than the last (see `judge`). The number of seeds and the primary arm are planned before the first
verdict, and no verdict is written with fewer seeds than planned:

    seeds trained   1 of 2   2 of 2    3 of 4   4 of 4
    verdicts        none     look 1    none     look 2
    looks           ()       (2,)      (2,)     (2, 4)
"""

from dataclasses import dataclass, replace

from deepen.errors import InvalidValueError
from deepen.study.define.study import Study
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.schema import Results, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedPlan:
    """What was planned before the first verdict, and the looks since.

    Attributes:
        seeds: the number of seeds.
        primary: the arm that the study is about; empty if none was declared.
        looks: the numbers of seeds with which verdicts were written, in order.
    """

    seeds: int
    primary: str = ""
    looks: tuple[int, ...] = ()

    @classmethod
    def continued(cls, study: Study, before: Results | None) -> "SeedPlan":
        """The plan of a study: after a verdict, what the results record; until then, what the study says.

        Args:
            study: the study to run.
            before: the results in its folder; None if there are none.
        """
        looks = () if before is None else find_looks(before)
        if before is None or not looks:
            return cls(seeds=study.seeds_planned or len(study.seeds), primary=study.primary)
        return cls(seeds=before.seeds_planned or looks[0], primary=before.primary, looks=looks)

    def check(self, study: Study) -> None:
        """Raise an InvalidValueError if a study declares another plan after a verdict was written."""
        remedy = "leave it out; for another plan, name another `folder`"
        if self.looks and study.primary not in ("", self.primary):
            declared = f"{self.primary!r} was declared" if self.primary else "none was declared"
            raise InvalidValueError(
                f"is {study.primary!r}, but verdicts were written already, before which {declared}",
                field="primary",
                value=study.primary,
                remedy=remedy,
            )
        if self.looks and study.seeds_planned not in (0, self.seeds):
            raise InvalidValueError(
                f"is {study.seeds_planned}, but verdicts were written already, with {self.seeds} planned before",
                field="seeds_planned",
                value=study.seeds_planned,
                remedy=remedy,
            )


def find_looks(results: Results) -> tuple[int, ...]:
    """The looks that results record; older versions recorded none, but wrote verdicts."""
    written = {verdict.n_seeds for verdict in results.verdicts if verdict.interval is not None}
    return results.looks or ((max(written),) if written else ())


def judge_as_planned(results: Results, plan: SeedPlan) -> Results:
    """Add the verdicts to collected results, if as many seeds are trained as planned, and record the look.

    Args:
        results: the results without verdicts.
        plan: what was planned.
    """
    results = replace(results, seeds_planned=plan.seeds, primary=plan.primary, looks=plan.looks)
    needed = max(plan.seeds, len(results.regime.seeds))
    if count_finished_seeds(results) < needed:
        return results
    judged = with_verdicts(results)

    def keep(verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in verdicts if verdict.n_seeds >= needed)

    judged = replace(judged, verdicts=keep(judged.verdicts), depth_verdicts=keep(judged.depth_verdicts))
    is_look = any(verdict.interval is not None for verdict in judged.verdicts)
    return replace(judged, looks=(*plan.looks, needed)) if is_look and needed not in plan.looks else judged


def count_finished_seeds(results: Results) -> int:
    """The seeds with which the baseline has reached the study's budget."""
    return len({
        arm.seed
        for arm in results.arms
        if arm.name == results.baseline
        for mark in arm.marks
        if mark.is_exact and mark.is_whole_budget and mark.val_loss is not None
    })  # fmt: skip
