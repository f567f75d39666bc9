"""`fair` from the first trial to its results."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.model.config import ModelConfig
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.fair import fair
from deepen.study.define.study import Study
from deepen.study.results.schema import Results


@pytest.fixture
def study(model: ModelConfig, make_study: Callable[..., Study]) -> Study:
    """Two budgets of a few steps of a model of two blocks, on the tests' own text."""
    small = replace(model, depth=2)
    batch = 2 * small.context
    steps = 12 * batch / small.parameters_non_embedding
    made = fair(model=small, budgets=(steps, 2 * steps), recipes=("one-shot",), seeds=2)
    own = make_study(model=small)
    return replace(
        made,
        tokens=24 * batch,
        earlier_tokens=(12 * batch,),
        batch_tokens=batch,
        data=own.data,
        rate=replace(made.rate, warmup_tokens=batch),  # type: ignore[type-var]
        evaluation=Evaluation(every_tokens=8 * batch, validation_tokens=32, mark_tokens=32),
    )


@pytest.mark.slow
def test_a_fair_study_ends_with_two_baselines_two_budgets_and_tuned_arms(
    study: Study, run_study: Callable[..., dict[str, Any]], tmp_path: Path
):
    results = Results.from_json(run_study(study, tmp_path / "study"))
    assert results.trained_share == 1 and results.tuning is not None and results.best_fixed_depth
    candidates = {trials.name for trials in results.tuning.arms}
    assert candidates >= {arm.name for arm in study.arms}
    counts = {len(trials.trials) for trials in results.tuning.arms}
    assert len(counts) == 1, "every arm and every depth has as many trials as any other"
    budgets = {(v.arm, round(v.budget_share or 0, 1)) for v in results.verdicts if v.is_exact}
    assert {(arm.name, share) for arm in study.arms[1:] for share in (0.5, 1.0)} <= budgets
    assert results.sharing.tokens_trained is not None and results.sharing.tokens_if_separate is not None
    assert results.sharing.tokens_trained < 0.8 * results.sharing.tokens_if_separate
