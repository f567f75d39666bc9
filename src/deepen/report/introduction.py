"""What was trained, in sentences: the model, the data, the budget, and what several arms share."""

from deepen.report.summary import StudySummary
from deepen.report.units import capitalized, count, cut, percent, plural, with_article


def describe_comparison(study: StudySummary) -> str:
    """Describe the compared arms, the model and the data in one sentence."""
    regime, others = study.regime, [arm for arm in study.arms if not arm.is_baseline]
    model = f"{with_article(regime.depth)}-layer model" if regime.depth is not None else "one model"
    if regime.parameters is not None:
        model += f" of {count(regime.parameters)} parameters"
    data = f" of {cut(regime.data.name, 60)}" if regime.data.name else ""
    amount = f" on {count(regime.baseline_tokens)} tokens" if regime.baseline_tokens else ""
    ways = f"{plural(len(others), 'way')} of training" if others else "Training"
    return f"{capitalized(ways)} {model}, against ordinary full training{amount}{data}, at equal compute."


def describe_sharing(study: StudySummary) -> str:
    """Describe the tokens that shared segments saved in one sentence; empty if unknown or none."""
    trained, separate = study.sharing.tokens_trained, study.sharing.tokens_if_separate
    if not trained or not separate or separate <= trained:
        return ""
    return (
        f"Arms that begin with the same training share it: {count(trained)} tokens were trained, where "
        f"separate runs would have trained {count(separate)}, {percent(1 - trained / separate)} less."
    )
