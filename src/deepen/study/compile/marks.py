"""The marks of a study's arms: the points at which arms are compared, and the schedules that end there.

Every arm is compared at the point where it has used as many exact FLOPs as full training for the study's tokens.
The baseline and the best fixed depth are also measured at other shares of this budget. An arm whose recipe has a
closed form in its paper is also measured at that mark, and an arm with a staged part after each of the study's
`continual_shares`. A study can ask for a mark at equal tokens. For example, the marks of `two-phase` in 4 stages,
and those of its baseline, in a study of 10,000 steps with `continual_shares=(1.0,)`:

    flops, 1.00 of the budget    13,106 steps    baseline 10,000 steps
    paper                        14,688 steps    baseline 10,000 steps
    flops, 1.69 of the budget    20,000 steps    baseline 16,894 steps

`deepen.compute.marks` computes the marks, for studies and plans alike.

A phase that a plateau may end has its latest length in these schedules. Where it ends is decided during training,
for each seed, and `decided_mark` then gives the schedule to the same budget.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from deepen.compute.accounting import (
    EXACT_FLOPS,
    PAPER,
    TOKENS,
    PaperAccounting,
    flops_accounting,
    tokens_accounting,
)
from deepen.compute.marks import RecipeRun
from deepen.compute.triggers import check_triggers, decide_schedule, end_early
from deepen.errors import InvalidValueError, add_context
from deepen.schedule.plateau import Trigger
from deepen.schedule.recipes import BASELINE, get_recipe
from deepen.schedule.schedule import Schedule
from deepen.study.define.study import Arm, Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A point at which an arm is compared, and the schedule that ends there.

    Attributes:
        accounting: name of the accounting in which compute is equal.
        budget_share: the mark's budget ÷ the budget of the study.
        budget_flops: the mark's budget, in exact FLOPs.
        schedule: the run that ends at the mark, in whole steps.
        earlier_tokens: the study's earlier budget to which the mark belongs; 0 for its present one.
    """

    accounting: str
    budget_share: float
    budget_flops: int
    schedule: Schedule
    earlier_tokens: int = 0

    def with_peak(self, peak: float) -> "Mark":
        """The mark of a run that is the same but for the peak of its rate."""
        rate = replace(self.schedule.rate, peak=peak)  # type: ignore[type-var]
        return replace(self, schedule=replace(self.schedule, rate=rate))

    @property
    def tokens(self) -> int:
        """Tokens of the run that ends at the mark."""
        return self.schedule.tokens

    @property
    def own_tokens(self) -> int:
        """Tokens that a longer run of the same rate does not share, at most: those of the decay."""
        rate = self.schedule.rate
        return self.tokens - (rate.pieces(self.schedule.grid)[-1].start if rate.forks else 0)


def budget_flops(study: Study) -> int:
    """A study's budget: the exact FLOPs of full training for the baseline's tokens."""
    return round(flops_accounting(study.ledger).budget(_full_training(study)))


def compile_marks(study: Study, arm: Arm, *, at_anchors: bool = False) -> list[Mark]:
    """Compute the marks of an arm.

    Args:
        study, arm: the study and the arm.
        at_anchors: whether the arm is measured at the study's other budgets, as the baseline is.

    Raises:
        InvalidValueError: the arm's recipe does not fit the study's model or tokens; the message names the arm.
    """
    at_anchors = at_anchors or arm.name == study.baseline
    try:
        marks = [*_flops_marks(study, arm, at_anchors=at_anchors), *_paper_marks(study, arm)]
        if arm.name != study.baseline:
            marks += [*_tokens_marks(study, arm), *_continual_marks(study, arm)]
        marks += _earlier_marks(study, arm, known=marks, at_anchors=at_anchors)
        for mark in marks:
            _check_mark(study, arm, mark)
        return marks
    except ValueError as error:
        raise add_context(error, f"arm {arm.name}") from None


def compile_trial(study: Study, arm: Arm) -> Mark:
    """Compute the mark at which trials of an arm are compared: the one at equal FLOPs.

    Raises:
        InvalidValueError: as in `compile_marks`.
    """
    try:
        mark = _mark(study, arm, EXACT_FLOPS, 1.0, budget_flops(study))
        _check_mark(study, arm, mark)
        return mark
    except ValueError as error:
        raise add_context(error, f"a trial of arm {arm.name}") from None


def compile_smaller_trials(study: Study, arm: Arm, trial: Mark) -> list[Mark]:
    """Compute the marks of an arm at the smaller budgets of the study of its trials, from small to large.

    Raises:
        InvalidValueError: as in `compile_marks`.
    """
    try:
        marks = list(_earlier_marks(study, arm, known=[trial], at_anchors=False))
        for mark in marks:
            _check_mark(study, arm, mark)
        return marks[::-1]
    except ValueError as error:
        raise add_context(error, f"a trial of arm {arm.name}") from None


def _check_mark(study: Study, arm: Arm, mark: Mark) -> None:
    """Check that the run to a mark can be trained."""
    _check_start(mark.schedule, study)
    mark.schedule.rate.pieces(mark.schedule.grid)  # raises if the run is too short for the rate
    check_triggers(_run(_with_budget(mark, study), arm), mark.schedule)


def _earlier_marks(study: Study, arm: Arm, known: Sequence[Mark], *, at_anchors: bool) -> Iterator[Mark]:
    """The marks at equal FLOPs of the study's earlier budgets, apart from those that are known."""
    schedules, budget = [mark.schedule for mark in known], budget_flops(study)
    for tokens in reversed(study.earlier_tokens):
        for mark in _flops_marks(study.at_budget(tokens), arm, at_anchors=at_anchors):
            if mark.schedule not in schedules:
                schedules.append(mark.schedule)
                yield replace(mark, budget_share=mark.budget_flops / budget, earlier_tokens=tokens)


def _with_budget(mark: Mark, study: Study) -> Study:
    """The study with the budget to which a mark belongs."""
    return study.at_budget(mark.earlier_tokens) if mark.earlier_tokens else study


def decided_mark(study: Study, arm: Arm, mark: Mark, choose: Callable[[Schedule, Trigger], int]) -> Mark:
    """A mark of an arm after all its phases that a plateau may end were decided.

    Args:
        study, arm: the study and the arm.
        mark: the mark, as compiled.
        choose: the position in tokens at which the phase of a trigger ends, which the given schedule has.
    """
    study = _with_budget(mark, study)

    def solve(run: RecipeRun) -> Schedule:
        return mark.schedule if not run.decisions else _solve(study, run, mark.accounting, mark.budget_flops)

    return replace(mark, schedule=decide_schedule(_run(study, arm), solve, choose))


def earliest_mark(study: Study, arm: Arm, mark: Mark) -> Mark:
    """A mark of an arm if each of its phases that a plateau may end does so at its first opportunity."""
    return decided_mark(study, arm, mark, end_early)


def _check_start(schedule: Schedule, study: Study) -> None:
    """Check that a schedule begins with as many blocks as the checkpoint from which the study starts."""
    if study.start is None and schedule.start_depth is not None:
        raise InvalidValueError(
            "expands a trained model, but the study starts from fresh weights",
            remedy="name the trained model with `start`",
        )
    if study.start is not None and schedule.depth_at_start != study.start.depth:
        raise InvalidValueError(
            f"it begins with {schedule.depth_at_start} blocks, but {study.start.path} has {study.start.depth}",
            value=study.start.path,
            remedy="use a recipe that begins with these, or grow the checkpoint first",
        )


def _flops_marks(study: Study, arm: Arm, *, at_anchors: bool) -> list[Mark]:
    """The mark at equal FLOPs, and for a baseline the marks at other budgets.

    With a rate that does not fork, such as a cosine, each budget would need a separate run, so there is one mark.
    """
    budget = budget_flops(study)
    shares: tuple[float, ...] = (1.0,)
    if at_anchors and study.rate_for(arm).forks:
        shares = tuple(dict.fromkeys((*study.anchors, *sorted(_continual_budgets(study)))))
    return [_mark(study, arm, EXACT_FLOPS, share, round(budget * share)) for share in shares]


def _paper_marks(study: Study, arm: Arm) -> list[Mark]:
    """The mark of the recipe's closed form, if it has one and the study asks for it."""
    if PAPER not in study.accountings or not PaperAccounting().applies_to(_run(study, arm), BASELINE):
        return []
    return [_mark(study, arm, PAPER, 1.0, budget_flops(study))]


def _tokens_marks(study: Study, arm: Arm) -> list[Mark]:
    """The mark at as many tokens as the baseline has, if the study asks for it."""
    if TOKENS not in study.accountings:
        return []
    return [_mark(study, arm, TOKENS, 1.0, budget_flops(study))]


def _mark(study: Study, arm: Arm, accounting: str, share: float, budget: int) -> Mark:
    schedule = _solve(study, _run(study, arm), accounting, budget)
    return Mark(accounting=accounting, budget_share=share, budget_flops=budget, schedule=schedule)


def _solve(study: Study, run: RecipeRun, accounting: str, budget: int) -> Schedule:
    """The schedule of a run to its mark in an accounting; a budget in FLOPs counts only in exact FLOPs."""
    if accounting == PAPER:
        paper = PaperAccounting()
        return paper.mark(run, paper.budget(_full_training(study)))
    if accounting == TOKENS:
        return tokens_accounting().mark(run, study.baseline_tokens)
    return flops_accounting(study.ledger).mark(run, budget)


def _continual_marks(study: Study, arm: Arm) -> list[Mark]:
    """The marks after continual training of given lengths, at the budget that the arm has spent there.

    There are none if the rate of the arm or of the baseline does not fork, as in `_flops_marks`.
    """
    run = _run(study, arm)
    compared = (each for each in study.arms if each.name in (arm.name, study.baseline))
    if not run.recipe.has_staged_part or not all(study.rate_for(each).forks for each in compared):
        return []
    accounting, budget = flops_accounting(study.ledger), budget_flops(study)
    marks = []
    for share in study.continual_shares:
        schedule = run.continued(round(share * study.baseline_tokens))
        if schedule.has_trigger:
            raise InvalidValueError(
                "need staged parts of known length, and a plateau may end a phase of this one",
                field="continual_shares",
                value=share,
            )
        budget_share = accounting.price(schedule) / budget
        marks.append(
            Mark(
                accounting=accounting.name,
                budget_share=budget_share,
                budget_flops=round(budget * budget_share),
                schedule=schedule,
            )
        )
    return marks


def _continual_budgets(study: Study) -> Iterator[float]:
    """The budgets of the continual marks of all arms, as shares of the study's budget."""
    for arm in study.arms:
        with suppress(ValueError):  # an arm that does not fit is reported when its own marks are computed
            yield from (mark.budget_share for mark in _continual_marks(study, arm))


def _run(study: Study, arm: Arm) -> RecipeRun:
    """An arm's recipe with all its settings, except the length of the run."""
    return RecipeRun(
        recipe=get_recipe(arm.recipe),
        options=arm.options,
        model=study.model,
        batch_tokens=study.batch_tokens,
        context=study.context,
        baseline_tokens=study.baseline_tokens,
        batch_ramp=arm.batch_ramp,
        context_ramp=arm.context_ramp,
        rate=study.rate_for(arm).fix_warmup(study.first_budget.baseline_tokens),
        ledger=study.ledger,
    )


def _full_training(study: Study) -> Schedule:
    """The schedule of full training for the study's tokens, which sets the budget."""
    run = _run(study, Arm(name=BASELINE.name, recipe=BASELINE.name))
    return run.schedule(study.baseline_tokens // study.batch_tokens)
