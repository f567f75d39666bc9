"""The trials of a study, and what they choose: the rate and the options of every arm, and the best fixed depth.

Trials are runs like all others, in the same tree. What is tried next and what is chosen follows from the losses of
the trials that are finished, so a study is compiled again when one has ended:

    compiled    full at 4e-3, 8e-3, 1.6e-2      one-shot at the same
    trained     losses 3.30, 3.24, 3.26         3.25, 3.27, 3.31
    compiled    full at 1.13e-2 too             one-shot at 2e-3 too: its best rate was the lowest
    trained     loss 3.23                       3.28
    compiled    full with 1.13e-2, with the study's seeds      one-shot with 4e-3, with the study's seeds
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from deepen.errors import InvalidValueError
from deepen.schedule.recipes import CONSTANT_DEPTH, get_recipe
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable
from deepen.study.compile.decisions import Decide, FindLoss
from deepen.study.compile.marks import Mark, budget_flops, compile_smaller_trials, compile_trial
from deepen.study.compile.routes import Draft, Drafter
from deepen.study.compile.trials import (
    ArmTrials,
    BestDepthAt,
    Choices,
    Trial,
    find_best,
    loss_or_infinity,
    losses_by_peak,
)
from deepen.study.define.study import Arm, Study


def choose(study: Study, data_fingerprint: str, decide: Decide, find_loss: FindLoss) -> Choices[Draft]:
    """Compile the trials of a study, and choose as far as their losses are known.

    Raises:
        InvalidValueError: a trial does not fit the model or the tokens; the message names its arm.
    """
    if not study.has_trials:
        return Choices(study=study)
    trial_study = study if study.trials.share == 1 else study.scaled(study.trials.share)
    drafter = Drafter(study=trial_study, data_fingerprint=data_fingerprint, decide=decide)
    candidates = _find_candidates(study, trial_study)
    total = study.trials.trials_per_arm([arm for arm, _ in candidates])

    marks: dict[str, list[Mark]] = {}  # which take long to compute, and differ between rates in the peak alone

    def run(arm: Arm, *, at_smaller: bool, is_refined: bool) -> Trial[Draft]:
        key = f"{arm.name} {arm.options}"
        if key not in marks:
            trial = compile_trial(trial_study, arm)
            marks[key] = [*(compile_smaller_trials(trial_study, arm, trial) if at_smaller else ()), trial]
        found: list[Trial[Draft]] = []
        for mark in marks[key]:
            at_peak = mark.with_peak(trial_study.rate_for(arm).peak)
            runs = tuple(drafter.drafts(arm, study.trials.seeds, [at_peak]))
            losses = tuple(None if draft.is_open else find_loss(draft.end_key) for draft in runs)
            peak = study.rate_for(arm).peak
            found.append(Trial(arm=arm, peak=peak, runs=runs, losses=losses, is_refined=is_refined))
        return replace(found[-1], smaller=tuple(found[:-1]))

    arms = tuple(_try_arm(study, arm, depth, total, run) for arm, depth in candidates)
    return _resolve(study, arms, budget_flops=budget_flops(trial_study))


def _find_candidates(study: Study, trial_study: Study) -> list[tuple[Arm, int | None]]:
    """The arms that get trials, and the arms of the constant depths that the study has none of.

    Returns:
        Each with its depth, if it is a candidate for the best fixed depth.

    Raises:
        InvalidValueError: a recipe does not fit the model, or an arm has the name of a depth and is not it.
    """
    depths = sorted({*study.depths, study.model.depth}) if study.depths else []
    arms: list[tuple[Arm, int | None]] = []
    for arm in study.arms:
        depth = _find_constant_depth(arm, compile_trial(trial_study, arm).schedule)
        is_new = depth in depths and depth not in [known for _, known in arms]
        arms.append((arm, depth if is_new else None))
    known = {depth for _, depth in arms}
    for depth in depths:
        if depth not in known:
            arms.append((_depth_arm(study, depth), depth))
    return arms if study.tuning else [(arm, depth) for arm, depth in arms if depth is not None]


def _find_constant_depth(arm: Arm, schedule: Schedule) -> int | None:
    """The depth of a schedule that trains all of a model of one depth from the start to the end; else None."""
    depths = {phase.depth for phase in schedule.phases}
    is_whole = all(phase.train == Trainable.ALL and not phase.layers for phase in schedule.phases)
    is_plain = arm.rate is None and arm.batch_ramp is None and arm.context_ramp is None
    return depths.pop() if len(depths) == 1 and is_whole and is_plain else None


def _depth_arm(study: Study, depth: int) -> Arm:
    arm = Arm(name=f"depth {depth}", recipe=CONSTANT_DEPTH.name, options={"start_depth": depth})
    if arm.name in [each.name for each in study.arms]:
        raise InvalidValueError(
            f"has the name {arm.name!r} of a fixed depth, and trains something else",
            field="arms",
            value=arm.name,
            remedy="give it another name",
        )
    return arm


def _try_arm(
    study: Study, arm: Arm, depth: int | None, total: int, run: Callable[..., Trial[Draft]]
) -> ArmTrials[Draft]:
    """The trials of an arm: the grid, then one more whenever the losses of all earlier ones are known."""
    own = get_recipe(arm.recipe).options
    at_smaller = depth is not None
    trials = [run(tried, at_smaller=at_smaller, is_refined=False) for tried in study.trials.grid(arm)]
    while len(trials) < total and (best := find_best(trials)) is not None:
        losses = losses_by_peak(trials, best)
        trials.append(run(best.arm.with_peak(next_peak(losses)), at_smaller=at_smaller, is_refined=True))
    return ArmTrials(
        arm=arm,
        option_names=tuple(name for name in study.trials.options if name in own),
        fixed_depth=depth,
        trials=tuple(trials),
        trials_to_come=total - len(trials),
    )


def next_peak(losses: Mapping[float, float]) -> float:
    """The peak rate to try next: beside the best, or beyond it where it is the lowest or the highest.

    Beside it, the wider of the two gaps is halved in log scale, of equal gaps the one whose other end is better:

        next_peak({4e-3: 3.30, 8e-3: 3.24, 1.6e-2: 3.26})    # 0.0113, between 8e-3 and 1.6e-2
        next_peak({4e-3: 3.25, 8e-3: 3.27, 1.6e-2: 3.31})    # 0.002, as far below as the next one is above

    Args:
        losses: the loss of each rate that was tried.
    """
    peaks = sorted(losses)
    best = min(peaks, key=lambda peak: losses[peak])
    nth = peaks.index(best)
    beside = [*peaks[max(0, nth - 1) : nth], *peaks[nth + 1 : nth + 2]]
    if len(beside) == 2:
        other = max(beside, key=lambda peak: (round(abs(math.log(peak / best)), 2), -losses[peak]))
        found = math.sqrt(best * other)
    else:
        found = best**2 / beside[0] if beside else 2 * best
    rounded = float(f"{found:.3g}")
    return found if rounded in losses else rounded


def _resolve(study: Study, arms: tuple[ArmTrials[Draft], ...], budget_flops: int) -> Choices[Draft]:
    """The study with what its trials have chosen."""
    chosen = {each.arm.name: each.chosen for each in arms}
    resolved = [trial.arm if (trial := chosen.get(arm.name)) else arm for arm in study.arms]
    best_depths = _choose_depths(arms) if all(chosen.values()) else ()
    for best in best_depths:
        trial = chosen[best.arm]
        if trial is not None and best.arm not in [arm.name for arm in resolved]:
            resolved.append(trial.arm)
    return Choices(
        study=replace(study, arms=tuple(resolved), tuning=None, depths=()),
        arms=arms,
        best_depths=best_depths,
        budget_flops=budget_flops,
    )


def _choose_depths(arms: Sequence[ArmTrials[Draft]]) -> tuple[BestDepthAt, ...]:
    """The constant depth with the lowest loss at each budget of the trials, each depth with its chosen rate."""
    chosen = [each.chosen for each in arms if each.fixed_depth is not None]
    by_budget = zip(*(trial.at_all_budgets for trial in chosen if trial is not None), strict=True)
    return tuple(
        BestDepthAt(trials[0].runs[0].mark.budget_flops, min(trials, key=loss_or_infinity).arm.name)
        for trials in by_budget
    )
