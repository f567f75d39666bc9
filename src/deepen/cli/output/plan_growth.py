"""How the model grows in a plan: from how many blocks to how many, and how new blocks get their weights."""

from itertools import groupby
from typing import Any

from deepen.compute.plan import Plan
from deepen.schedule.rescaled_growth import find_rescaled_growth


def describe_growths(plan: Plan) -> list[dict[str, Any]]:
    """Each growth of the planned run in JSON's types, with the tokens after which it comes."""
    schedule = plan.total.schedule
    growths, tokens, blocks = [], 0, schedule.depth_at_start
    for place, (phase, step) in enumerate(zip(schedule.phases, schedule.growth_steps, strict=True)):
        if step is not None:
            growth = schedule.growth_at(place)
            growths.append({
                "phase": phase.label,
                "tokens": tokens,
                "blocks_before": blocks,
                "blocks_after": phase.blocks,
                "how": str(growth),
                "moments": growth.moments,
                "residual_scale": growth.residual_scale,
                "noise": growth.noise,
                "rewarm_tokens": growth.rewarm_tokens,
                "rewarm": growth.rewarm,
            })  # fmt: skip
        tokens, blocks = tokens + phase.tokens, phase.blocks
    return growths


def describe_rescaled_growth(plan: Plan) -> str | None:
    """What is wrong with a growth that keeps the function with another parametrization; None if nothing is."""
    found = find_rescaled_growth(plan.total.schedule, plan.request.model)
    return None if found is None else f"{plan.request.recipe_name} {found}"


def growth_lines(plan: dict[str, Any]) -> list[str]:
    """The growths of a plan in sentences: one for those that are alike, and a warning."""
    lines = [
        f"growth    {', '.join(_depths(growth) for growth in alike)} blocks: {how}"
        for how, alike in groupby(plan["growths"], key=_describe)
    ]
    return [*lines, f"warning   {plan['growth_warning']}"] if plan["growth_warning"] else lines


def _depths(growth: dict[str, Any]) -> str:
    return f"{growth['blocks_before']} to {growth['blocks_after']}"


def _describe(growth: dict[str, Any]) -> str:
    parts = [growth["how"], f"moments {growth['moments']}"]
    if growth["rewarm_tokens"]:
        whose = "everything" if growth["rewarm"] == "all" else "new blocks"
        parts.append(f"the rate of {whose} rises again over {growth['rewarm_tokens']:,} tokens")
    return "; ".join(parts)
