"""What training would cost, without training: of a recipe, or of a study. Needs no torch.

deepen.plan("two-phase", model="gpt2-124m", options={"stages": 4}, steps=10_000).peak.memory.peak   # bytes
deepen.plan(study).marks
"""

from typing import Any, overload

from deepen.compute.plan import Plan, plan_recipe
from deepen.study.compile.study_plan import StudyPlan, plan_study
from deepen.study.define.study import Study


@overload
def plan(what: Study) -> StudyPlan: ...
@overload
def plan(what: str, **request: Any) -> Plan: ...
def plan(what: Study | str, **request: Any) -> Plan | StudyPlan:
    """Plan a study, or a recipe by its name.

    Args:
        what: a study, or the name of a recipe.
        request: for a recipe, the arguments of `deepen.compute.plan.plan_recipe`: model, options, a budget, and
            whatever else prices it.

    Raises:
        InvalidValueError, InvalidValuesError: the request cannot be used.
    """
    if isinstance(what, str):
        return plan_recipe(what, **request)
    if request:
        raise TypeError(f"a study names all that is planned: leave out {', '.join(request)}")
    return plan_study(what)
