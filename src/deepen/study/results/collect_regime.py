"""Collecting the conditions of a comparison, from a study and its data."""

from deepen.data.shards import Dataset
from deepen.schedule.rate import rate_name
from deepen.study.compile.tree import Tree
from deepen.study.results.regime import DataFacts, Regime
from deepen.study.results.step_times import StepTimes
from deepen.study.store.study_folder import Store


def collect_regime(
    tree: Tree, store: Store, dataset: Dataset, machine: str, times: StepTimes, wall_seconds: float
) -> Regime:
    """Collect the conditions of a study: its model, budget, rate, data and machine."""
    study, model = tree.study, tree.study.model
    train_tokens, validation_tokens = dataset.count("train"), dataset.count("validation")
    longest = max(route.mark.schedule.tokens for route in tree.routes)
    return Regime(
        model=model.name,
        family=model.family,
        parametrization=model.parametrization,
        depth=model.depth,
        width=model.width,
        parameters=model.parameters,
        parameters_non_embedding=model.parameters_non_embedding,
        context=study.context,
        vocab=model.vocab,
        baseline_tokens=study.baseline_tokens,
        tokens_per_parameter=study.baseline_tokens / model.parameters_non_embedding,
        rate=rate_name(study.rate),
        peak_lr=study.rate.peak,
        precision=study.settings.precision,
        batch_tokens=study.batch_tokens,
        seeds=study.seeds,
        data=DataFacts(
            name=dataset.name,
            fingerprint=dataset.fingerprint,
            tokenizer_sha256=dataset.tokenizer_sha256,
            train_tokens=train_tokens,
            validation_tokens=min(study.evaluation.validation_tokens, validation_tokens - 1),
            mark_tokens=min(study.mark_tokens, validation_tokens - 1) // study.context * study.context,
            epochs=longest / train_tokens,
        ),
        task_files=(store.recorded("inputs") or {}).get("tasks", {}),
        attention_flops="dense",
        machine=machine,
        device=times.device,
        step_time_spread=times.spread,
        wall_seconds=wall_seconds,
        warmup_tokens=study.rate.fix_warmup(study.first_budget.baseline_tokens).warmup_tokens,
        decay_shape=getattr(study.rate, "decay_shape", ""),
        decay_share=getattr(study.rate, "decay_share", None),
        decay_in=getattr(study.rate, "decay_in", ""),
        decay_tokens=getattr(study.rate, "decay_tokens", None),
        final_share=getattr(study.rate, "final_share", None),
    )
