"""What a command line changes of a study: model, budget, rate, evaluations."""

from dataclasses import replace
from typing import Any

from deepen.cli.requests.model_options import parse_model
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.ramp_options import add_ramps, has_ramps
from deepen.cli.requests.rate_options import change_rate, set_peaks
from deepen.cli.requests.study_options import OWN_OPTIONS
from deepen.cli.requests.task_options import add_tasks, given_tasks
from deepen.cli.requests.training_options import parse_settings
from deepen.cli.requests.tuning_options import add_trials
from deepen.model.config import ModelConfig
from deepen.model.presets import peak_rate
from deepen.schedule.grid import round_to_steps
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study


def change_study(arguments: Arguments, study: Study, changes: dict[str, Any]) -> Study | None:
    """The study with what a command line changes of it."""
    for key in OWN_OPTIONS.keys() & changes.keys():
        owners = OWN_OPTIONS[key]
        do = "does" if len(owners) == 1 else "do"
        arguments.add(f"--{key}: study {arguments.argument} does not take it; {' and '.join(owners)} {do}")
    if "tokens" in arguments and "scale" in arguments:
        arguments.add("--tokens and --scale both set the budget: give one of them")

    def change() -> Study:
        changed = _with_sizes(study, parse_model(arguments, study.model), changes)
        tokens = changes.get("tokens", round(study.tokens * changes.get("scale", 1.0)))
        share = tokens / study.tokens
        evaluation = _scale_evaluation(study.evaluation, share, changed.batch_tokens)
        if "points" in changes:
            evaluation = _evaluate_at_points(evaluation, tokens, changes["points"], changed.batch_tokens)
        arms = set_peaks(tuple(arm.scaled(share) for arm in changed.arms), changes.get("lr", ()))
        changed = replace(
            changed,
            tokens=tokens,
            earlier_tokens=tuple(round(each * share) for each in study.earlier_tokens),
            rate=change_rate(changed.rate.scaled(share), changes),
            arms=_with_ramps(arguments, changed, arms),
            evaluation=add_tasks(evaluation, given_tasks(changes)),
            seeds=tuple(range(changes["seeds"])) if "seeds" in changes else study.seeds,
            primary=changes.get("primary", study.primary),
            data=str(changes.get("data", study.data)),
            data_dtype=changes.get("data_dtype", study.data_dtype),
            tokenizer=changes.get("tokenizer", study.tokenizer),
            settings=parse_settings(arguments, study.settings),
        )
        return add_trials(changed, changes)

    return arguments.attempt(change)


def _with_sizes(study: Study, model: ModelConfig, changes: dict[str, Any]) -> Study:
    """The study with another model, context or batch.

    The context is at most the model's, the batch whole sequences. A model of other sizes has its own peak rate.
    """
    context = changes.get("context", min(study.context, model.context))
    sequences = max(1, round_to_steps(study.batch_tokens, context))
    peak = study.rate.peak if model == study.model else peak_rate(model)
    return replace(
        study,
        model=model,
        context=context,
        batch_tokens=changes.get("batch_tokens", sequences * context),
        rate=replace(study.rate, peak=peak),  # type: ignore[type-var]
    )


def _with_ramps(arguments: Arguments, study: Study, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The arms with the ramps of a command line, after the baseline without them."""
    if not has_ramps(arguments):
        return arms
    baseline = next(arm for arm in arms if arm.name == study.baseline)
    return (baseline, *(add_ramps(arguments, arm) for arm in arms))


def _evaluate_at_points(evaluation: Evaluation, tokens: int, points: int, batch_tokens: int) -> Evaluation:
    """The evaluations, at this many points of the baseline's run."""
    every = max(1, round_to_steps(tokens / points, batch_tokens)) * batch_tokens
    return replace(
        evaluation, every_tokens=every, tasks_every_tokens=every if evaluation.tasks_every_tokens else 0
    )


def _scale_evaluation(evaluation: Evaluation, share: float, batch_tokens: int) -> Evaluation:
    """The evaluations of a run with `share` as many tokens, at as many points."""

    def in_steps(tokens: int) -> int:
        return max(1, round_to_steps(tokens * share, batch_tokens)) * batch_tokens

    tasks_every = evaluation.tasks_every_tokens
    return replace(
        evaluation,
        every_tokens=in_steps(evaluation.every_tokens),
        tasks_every_tokens=in_steps(tasks_every) if tasks_every else 0,
    )
