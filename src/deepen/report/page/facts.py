"""The facts about a study: labels and values."""

from deepen.report import units
from deepen.report.summary.study_summary import StudySummary
from deepen.study.results.regime import Regime

_RATE_NAMES = {"wsd": "warm-up, stable, decay", "cosine": "cosine decay", "constant": "constant"}
MAX_FACT_LENGTH = 160


def list_facts(study: StudySummary) -> list[tuple[str, str]]:
    """Labels and values of the known facts about a study."""
    regime, data = study.regime, study.regime.data
    seeds = study.baseline.seeds if study.baseline else ()
    facts = [
        ("Model", regime.model),
        ("Family, parametrization", ", ".join(filter(None, (regime.family, regime.parametrization)))),
        (
            "Shape",
            f"{units.counted(regime.depth, 'block')}, width {regime.width}"
            if regime.depth and regime.width
            else "",
        ),
        ("Parameters", _count(regime.parameters)),
        ("… without embeddings", _count(regime.parameters_non_embedding)),
        ("Context, vocabulary", _pair(regime.context, regime.vocab)),
        (
            "Tokens of full training" if study.is_single_arm else "Baseline tokens",
            _count(regime.baseline_tokens),
        ),
        ("Tokens per parameter", f"{regime.tokens_per_parameter:.3g}" if regime.tokens_per_parameter else ""),
        ("Batch", units.counted(regime.batch_tokens, "token") if regime.batch_tokens else ""),
        ("Learning rate", describe_rate(regime)),
        ("Precision", regime.precision),
        ("Seeds", ", ".join(str(seed) for seed in seeds)),
        ("Data", data.name),
        ("Training tokens in the data", _count(data.train_tokens)),
        ("Validation tokens", _count(data.mark_tokens or data.validation_tokens)),
        ("Validation tokens along curves", _count(data.validation_tokens if data.mark_tokens else None)),
        ("Epochs" if study.is_single_arm else "Epochs, longest arm", _fixed(data.epochs, 2)),
        ("Attention priced as", regime.attention_flops),
        ("Machine", regime.machine),
        ("Wall clock", units.duration(regime.wall_seconds) if regime.wall_seconds else ""),
        ("deepen", study.version),
    ]
    return [(label, units.cut(value, MAX_FACT_LENGTH)) for label, value in facts if value]


def describe_rate(regime: Regime) -> str:
    """Shape, peak, warm-up and decay of the rate, as far as they are known."""
    parts = [_RATE_NAMES.get(regime.rate, regime.rate)]
    parts += [f"peak {regime.peak_lr:g}"] if regime.peak_lr else []
    parts += [f"warm-up {units.counted(regime.warmup_tokens, 'token')}"] if regime.warmup_tokens else []
    if regime.decay_tokens:
        parts.append(f"{regime.decay_shape} decay over the last {units.counted(regime.decay_tokens, 'token')}")
    elif regime.decay_share:
        share = f"{100 * regime.decay_share:.3g} % of the {regime.decay_in}"
        parts.append(f"{regime.decay_shape} decay over the last {share}")
    parts += [f"down to {100 * regime.final_share:.3g} % of the peak"] if regime.final_share is not None else []
    return ", ".join(parts)


def _count(value: float | None) -> str:
    return "" if value is None else units.count(value)


def _fixed(value: float | None, places: int) -> str:
    return "" if value is None else units.fixed(value, places)


def _pair(context: int | None, vocab: int | None) -> str:
    return f"{context:,}, {vocab:,}" if context and vocab else ""
