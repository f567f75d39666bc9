"""Collecting the trials of a study, from its compiled tree and the records of its finished segments."""

from collections.abc import Mapping
from math import inf
from typing import Any

from deepen.schedule.recipes import get_recipe
from deepen.study.compile.marks import budget_flops
from deepen.study.compile.routes import Route
from deepen.study.compile.tree import Tree
from deepen.study.compile.trials import ArmTrials, Trial
from deepen.study.results.tuning import BestDepth, TrialResult, TunedArm, TuningResult

Done = Mapping[str, dict[str, Any]]
"""The records of the finished segments, by key."""


def collect_tuning(tree: Tree, done: Done) -> TuningResult | None:
    """Collect the trials; None in a study without trials."""
    arms, study = tree.tuning.arms, tree.study
    if not arms:
        return None
    runs = [route for _, route in tree.tuning.runs]
    nodes = [tree.nodes[key] for key in dict.fromkeys(key for route in runs for key in route.keys) if key in done]
    return TuningResult(
        seeds=study.trials.seeds,
        share=study.trials.share,
        tokens=sum(node.segment.tokens for node in nodes),
        flops=sum(node.segment.flops for node in nodes),
        tokens_if_separate=sum(route.mark.schedule.tokens for route in runs if route.keys[-1] in done),
        trials_per_arm=len(arms[0].trials) + arms[0].trials_to_come,
        arms=tuple(_collect_arm(tree, arm, done) for arm in arms),
        best_depths=tuple(
            BestDepth(budget_share=best.budget_flops / budget_flops(study), arm=best.arm)
            for best in tree.tuning.best_depths
        ),
    )


def _collect_arm(tree: Tree, arm: ArmTrials[Route], done: Done) -> TunedArm:
    runs = [run for run in arm.runs if run.keys[-1] in done]
    chosen = arm.chosen
    return TunedArm(
        name=arm.arm.name,
        recipe=get_recipe(arm.arm.recipe).name,
        depth=_final_depth(arm),
        is_fixed_depth=arm.fixed_depth is not None,
        trials=tuple(_collect_trial(tree, arm, trial) for trial in arm.trials),
        chosen_peak=None if chosen is None else chosen.peak,
        chosen_options={} if chosen is None else arm.options(chosen),
        at_edge=arm.is_at_edge,
        options_at_edge=_options_at_edge(arm),
        is_best_fixed_depth=arm.arm.name == tree.tuning.best_fixed_depth,
        flops=sum(_flops(tree, run) for run in runs),
        tokens=sum(run.mark.schedule.tokens for run in runs),
        seconds=sum(done[run.keys[-1]]["progress"]["seconds"] for run in runs),
    )


def _final_depth(arm: ArmTrials[Route]) -> int:
    """The layers that an arm executes at the end of its runs."""
    return arm.trials[0].runs[0].mark.schedule.phases[-1].depth


def _collect_trial(tree: Tree, arm: ArmTrials[Route], trial: Trial[Route]) -> TrialResult:
    run = trial.runs[0]
    return TrialResult(
        peak=trial.peak,
        options=arm.options(trial),
        loss=None if trial.loss == inf else trial.loss,
        losses=tuple(loss for loss in trial.losses if loss is not None and loss != inf),
        flops=_flops(tree, run),
        tokens=run.mark.schedule.tokens,
        refined=trial.is_refined,
        diverged=inf in trial.losses,
        losses_at_budgets=tuple(None if smaller.loss == inf else smaller.loss for smaller in trial.smaller),
    )


def _flops(tree: Tree, run: Route) -> int:
    return sum(tree.nodes[key].segment.flops for key in run.keys)


def _options_at_edge(arm: ArmTrials[Route]) -> tuple[str, ...]:
    """The numeric options of which the lowest or the highest value was chosen."""
    chosen = arm.chosen
    if chosen is None:
        return ()
    found = []
    for name, value in arm.options(chosen).items():
        tried = {arm.options(trial)[name] for trial in arm.trials}
        is_numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in tried)
        if is_numeric and len(tried) > 1 and value in (min(tried), max(tried)):
            found.append(name)
    return tuple(found)
