"""What training would cost, without training: of a recipe, or of a study.

    deepen.plan("two-phase", model="gpt2-124m", options={"stages": 4}, steps=10_000).peak.memory.peak  # bytes
    deepen.plan(my_recipe, model="nano", options={"grow_at": 0.7})  # a function of your own
    deepen.plan(study).marks

Nothing here needs torch.
"""

from collections.abc import Mapping
from typing import Any, overload

from deepen.compute.clock import Clock
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import Plan
from deepen.compute.plan_recipe import plan_recipe
from deepen.model.config import ModelConfig
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import Rate
from deepen.schedule.recipe import RecipeLike
from deepen.study.compile.study_plan import StudyPlan, plan_study
from deepen.study.define.study import Study


@overload
def plan(what: Study) -> StudyPlan: ...
@overload
def plan(
    what: RecipeLike,
    *,
    model: ModelConfig | str = ...,
    options: Mapping[str, Any] | None = ...,
    tokens: float | None = ...,
    steps: float | None = ...,
    flops: float | None = ...,
    tokens_per_parameter: float | None = ...,
    hours: float | None = ...,
    batch_tokens: int | None = ...,
    context: int | None = ...,
    against: RecipeLike = ...,
    ratio: float = ...,
    batch_ramp: Ramp | None = ...,
    context_ramp: Ramp | None = ...,
    causal_exact: bool = ...,
    memory: MemorySettings | None = ...,
    clock: Clock | None = ...,
    rate: Rate | None = ...,
) -> Plan: ...
def plan(what: Study | RecipeLike, **request: Any) -> Plan | StudyPlan:
    """Plan a study, or a recipe.

    Args:
        what: a study, the name of a recipe, or a function from a model and a number of tokens to a schedule.
        request: for a recipe, the arguments of `deepen.compute.plan_recipe.plan_recipe`: model, options, a
            budget, and others.

    Raises:
        InvalidValueError, InvalidValuesError: the recipe or the study cannot be planned.
    """
    if not isinstance(what, Study):
        return plan_recipe(what, **request)
    if request:
        raise TypeError(f"a study is planned without other arguments: leave out {', '.join(request)}")
    return plan_study(what)
