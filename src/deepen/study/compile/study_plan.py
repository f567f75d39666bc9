"""The plan of a study: the length and the cost of the run to every mark of every arm. Nothing is trained."""

from dataclasses import dataclass

from deepen.compute.ledger import phase_flops
from deepen.errors import InvalidValuesError
from deepen.study.compile.marks import Mark, budget_flops, compile_marks, earliest_mark
from deepen.study.define.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMark:
    """A mark of an arm, with the exact FLOPs of the run that ends there.

    `earliest` is the mark if plateaus end phases as early as they can, while in `mark` they do not; None if no
    phase may end on a plateau.
    """

    arm: str
    mark: Mark
    flops: int
    earliest: Mark | None = None

    @property
    def steps(self) -> int:
        """Steps of the run that ends at the mark."""
        return self.mark.schedule.steps

    @property
    def tokens(self) -> int:
        """Tokens of the run that ends at the mark."""
        return self.mark.schedule.tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan:
    """The budget of a study and the marks of its arms, in the study's order."""

    study: Study
    budget_flops: int
    marks: tuple[PlannedMark, ...]


def plan_study(study: Study) -> StudyPlan:
    """Plan a study.

    Raises:
        InvalidValuesError: all arms that do not fit the study's model or tokens.
    """
    marks: list[PlannedMark] = []
    errors: list[ValueError] = []
    for arm in study.arms:
        try:
            marks += [
                PlannedMark(
                    arm=arm.name,
                    mark=mark,
                    flops=sum(phase_flops(study.ledger, mark.schedule)),
                    earliest=earliest_mark(study, arm, mark) if mark.schedule.has_trigger else None,
                )
                for mark in compile_marks(study, arm)
            ]
        except ValueError as error:
            errors.append(error)
    if errors:
        raise InvalidValuesError(errors)
    return StudyPlan(study=study, budget_flops=budget_flops(study), marks=tuple(marks))
