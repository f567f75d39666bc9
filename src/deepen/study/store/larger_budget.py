"""Continuing a study to a larger budget in the same folder.

    recorded   tokens=200 steps, a warm-up of 4 steps, decay from 160 on
    asked      tokens=400 steps, a warm-up of 8 steps, because it is 2 % of the budget
    continued  tokens=400 steps, a warm-up of 4 steps, earlier_tokens=(200 steps,)

The run of 400 steps continues from the state at step 160, where the decay of the run of 200 steps left the stable
part of the rate. The earlier budget stays part of the study: its results are kept, and an unfinished run of it is
finished too.

What follows from the budget alone stays as it was with the first one: the warm-up, and the spacing of evaluations.
"""

import logging
import math
from dataclasses import replace
from pathlib import Path

from deepen.schedule.rate import Rate, rate_name
from deepen.study.define.arm import Arm
from deepen.study.define.study import Study
from deepen.study.store.errors import StoreError

_log = logging.getLogger(__name__)


def continue_to_budget(study: Study, recorded: Study) -> Study:
    """A study as a folder continues it that records another budget of it.

    Args:
        study: the study that is asked for.
        recorded: the study that the folder records.
    """
    budgets = {*study.earlier_tokens, *recorded.earlier_tokens, recorded.tokens}
    share = study.tokens / min(budgets)
    if share == 1:  # the first budget: nothing follows from another one
        return study
    spacing, kept = study.evaluation, recorded.evaluation
    step = max(1.0, share) * study.batch_tokens  # how far rounding to steps can move a spacing
    return replace(
        study,
        earlier_tokens=tuple(sorted(tokens for tokens in budgets if study.batch_tokens <= tokens < study.tokens)),
        rate=_keep_rate(study.rate, recorded.rate, share),
        arms=tuple(_keep_arm_rate(arm, recorded, share) for arm in study.arms),
        evaluation=replace(
            spacing,
            every_tokens=_keep_spacing(spacing.every_tokens, kept.every_tokens, share, step),
            tasks_every_tokens=_keep_spacing(spacing.tasks_every_tokens, kept.tasks_every_tokens, share, step),
        ),
    )


def check_budget(study: Study, recorded: Study, folder: Path) -> None:
    """Raise a StoreError unless the budget of a study can be continued from the recorded one.

    Args:
        study: the study, continued.
        recorded: what the folder records of it.
        folder: the study's folder.
    """
    problem = f"is {study.tokens:,}, and {folder} holds the same study with {recorded.tokens:,}"
    if study.tokens < recorded.tokens:
        raise StoreError(
            problem,
            field="tokens",
            value=study.tokens,
            remedy=f"ask for {recorded.tokens:,} or more, or name another `folder`",
        )
    if study.tokens > recorded.tokens and not any(study.rate_for(arm).forks for arm in study.arms):
        kind = rate_name(study.rate_for(study.arms[0]))
        raise StoreError(
            f"{problem}, of which a longer run has no part: its {kind} rate ends with the run",
            field="tokens",
            value=study.tokens,
            remedy="name another `folder`; runs with `rate` wsd share all but their decays",
        )


def log_continuation(study: Study, recorded_tokens: int, trained: int, total: int) -> None:
    """Log how much of a study is trained already that continues from a smaller budget.

    Args:
        study: the study, continued.
        recorded_tokens: the budget that its folder records.
        trained, total: tokens of its segments that need no training, and of all.
    """
    _log.info(
        "continuing from a budget of %s tokens to %s, with the warm-up and the evaluations of the first: "
        "%s of %s tokens are trained already",
        *(f"{number:,}" for number in (recorded_tokens, study.tokens, trained, total)),
    )
    for arm in study.arms:
        rate = study.rate_for(arm)
        if not rate.forks:
            _log.warning(
                "%s is trained from its start again: its %s rate ends with the run", arm.name, rate_name(rate)
            )


def _keep_spacing(tokens: int, recorded: int, share: float, step: float) -> int:
    """The recorded spacing of evaluations, if the other one is the same for `share` times as many tokens."""
    is_scaled = bool(tokens and recorded) and math.isclose(tokens, recorded * share, abs_tol=step)
    return recorded if is_scaled else tokens


def _keep_rate(rate: Rate, recorded: Rate, share: float) -> Rate:
    """The recorded rate, if the other one is the same for a budget of `share` times as many tokens."""
    scaled = recorded.scaled(share)
    is_same = math.isclose(rate.warmup_tokens, scaled.warmup_tokens, abs_tol=max(1.0, share))  # both are rounded
    same_warmup = replace(scaled, warmup_tokens=rate.warmup_tokens)  # type: ignore[type-var]
    return recorded if is_same and same_warmup == rate else rate


def _keep_arm_rate(arm: Arm, recorded: Study, share: float) -> Arm:
    """The arm with the recorded rate of its own, as in `_keep_rate`."""
    before = next((each.rate for each in recorded.arms if each.name == arm.name), None)
    if arm.rate is None or before is None:
        return arm
    return replace(arm, rate=_keep_rate(arm.rate, before, share))
