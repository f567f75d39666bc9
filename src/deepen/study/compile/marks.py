"""The marks of a study's arms: where each is compared, and the schedule that ends there."""

from dataclasses import dataclass

from deepen.compute.ledger import phase_flops
from deepen.compute.marks import flops_price, schedule_at_budget, schedule_at_papers_mark
from deepen.schedule.phase import Schedule
from deepen.schedule.recipes import BASELINE, get_recipe
from deepen.study.define.study import Arm, Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A point at which an arm is compared, and the schedule that ends there.

    Attributes:
        accounting: the price by which compute is equal.
        budget_share: the mark's budget ÷ the budget of the study.
        budget_flops: the mark's budget, in exact FLOPs.
        schedule: the run that ends at the mark, in whole steps.
    """

    accounting: str
    budget_share: float
    budget_flops: int
    schedule: Schedule


def budget_flops(study: Study) -> int:
    """The budget: exact FLOPs of full training for the baseline's tokens."""
    schedule = BASELINE.schedule(study.model, study.baseline_tokens, study.baseline_tokens, {})
    return sum(phase_flops(study.ledger, schedule.in_steps(study.batch_tokens, study.context)))


def compile_marks(study: Study, arm: Arm) -> list[Mark]:
    """The marks of an arm: equal exact FLOPs, and for the paper's recipe the paper's own mark too.

    Raises:
        ValueError: the arm's recipe does not fit the study's model and tokens; the message names the arm.
    """
    try:
        return _marks_of(study, arm)
    except ValueError as error:
        raise ValueError(f"arm {arm.name}: {error}") from None


def _marks_of(study: Study, arm: Arm) -> list[Mark]:
    def make(tokens: int) -> Schedule:
        return study.schedule(arm, tokens)

    budget, price = budget_flops(study), flops_price(study.ledger)
    shares = study.anchors if arm.name == study.baseline and study.lr.forks else (1.0,)
    marks = [
        Mark(
            accounting="flops",
            budget_share=share,
            budget_flops=round(budget * share),
            schedule=schedule_at_budget(make, price, round(budget * share), study.batch_tokens, study.context),
        )
        for share in shares
    ]
    recipe = get_recipe(arm.recipe)
    if recipe.closed_form is not None and "paper" in study.accountings:
        share = recipe.continual_share(arm.options)
        schedule = schedule_at_papers_mark(make, study.baseline_tokens, share, study.batch_tokens, study.context)
        marks.append(Mark(accounting="paper", budget_share=1.0, budget_flops=budget, schedule=schedule))
    return marks
