"""What was trained, in sentences: the model, the data, the budget, where a single arm ended, what arms share."""

from deepen.report.summary.study_summary import StudySummary
from deepen.report.units import (
    capitalized,
    count,
    counted,
    cut,
    duration,
    fixed,
    join,
    memory,
    percent,
    plural,
    scientific,
    with_article,
)


def describe_comparison(study: StudySummary) -> str:
    """Describe the arms, the model and the data in one sentence."""
    name, tokens = cut(study.regime.data.name, 60), study.regime.baseline_tokens
    model = _describe_model(study)
    if study.is_single_arm:
        arm = study.arms[0]
        budget = f" for the compute of full training on {count(tokens)} tokens" if tokens else ""
        data = f" on {name}" if name else ""
        return f"{capitalized(plural(len(arm.runs), 'run'))} of {arm.name}: {model}, trained{data}{budget}."
    others = [arm for arm in study.arms if not arm.is_baseline]
    amount = f" on {count(tokens)} tokens" if tokens else ""
    data = f" of {name}" if name else ""
    full = f"ordinary full training of {model}{amount}{data}"
    ways = f"{plural(len(others), 'way')} to use the compute of {full}" if others else full
    return f"{capitalized(ways)}."


def describe_single_arm(study: StudySummary) -> tuple[str, str]:
    """Describe where the only arm of a study ended, or how far it is: a headline, and the sentence below it."""
    arm, mark = study.arms[0], study.baseline_mark
    if mark is None:
        return f"{arm.name} has not reached its end yet.", "The curves below show the training so far."
    over = f", the mean of {plural(mark.n_seeds, 'seed')}" if mark.n_seeds > 1 else ""
    numbers = [f"training loss {fixed(mark.train.mean)}"] if mark.train else []
    numbers += [counted(round(mark.step), "step")] if mark.step is not None else []
    numbers += [f"{count(mark.tokens)} tokens", f"{scientific(mark.flops)} exact FLOPs", duration(mark.seconds)]
    numbers += [f"{memory(arm.peak_memory_bytes)} of memory at most"] if arm.peak_memory_bytes else []
    loss = fixed(mark.val.mean if mark.val else None)
    headline = f"{arm.name} ends at a validation loss of {loss} nats per token{over}."
    return headline, f"{capitalized(join(numbers))}."


def describe_budget(study: StudySummary) -> str:
    """The budget of the only arm of a study in steps of full training; empty if it has trained as many."""
    regime, mark = study.regime, study.baseline_mark
    if mark is None or not regime.baseline_tokens or not regime.batch_tokens:
        return ""
    steps = regime.baseline_tokens // regime.batch_tokens
    if mark.step == steps:
        return ""
    return f"the budget is the FLOPs of {counted(steps, 'step')} of full training"


def describe_validation_text(study: StudySummary) -> str:
    """The text on which a chart of losses is drawn; empty if marks and curves have the same."""
    data = study.regime.data
    if not data.has_longer_text_at_marks:
        return ""
    part, whole = count(data.validation_tokens or 0), count(data.mark_tokens or 0)
    used = "the loss above is that" if study.is_single_arm else "verdicts and tables use the loss"
    if study.draws_marks_on_curve_text:
        return (
            f"Lines and circles show the loss on the first {part} tokens of validation text; {used} on {whole}. "
            "Point at a circle to read both."
        )
    return (
        f"Lines show the loss on the first {part} tokens of the validation text, circles that on {whole}, so a "
        f"circle need not lie on its line; {used} on {whole}."
    )


def describe_sharing(study: StudySummary) -> str:
    """Describe the tokens that shared segments saved in one sentence; empty if unknown or none."""
    trained, separate = study.sharing.tokens_trained, study.sharing.tokens_if_separate
    if not trained or not separate or separate <= trained:
        return ""
    return (
        f"Arms that begin with the same training share it: {count(trained)} tokens were trained, where "
        f"separate runs would have trained {count(separate)}, {percent(1 - trained / separate)} less."
    )


def _describe_model(study: StudySummary) -> str:
    regime = study.regime
    model = f"{with_article(regime.depth)}-layer model" if regime.depth is not None else "one model"
    return model if regime.parameters is None else f"{model} of {count(regime.parameters)} parameters"
