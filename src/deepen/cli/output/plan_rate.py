"""The learning rate in a plan: where it warms up and decays, and what is wrong with it."""

from typing import Any

from deepen.cli.requests.parser import describe_errors
from deepen.cli.requests.plan_options import RECIPE_PLAN
from deepen.compute.marks import compute_share
from deepen.compute.plan import Plan
from deepen.errors import InvalidValueError
from deepen.report.units import counted
from deepen.schedule.late_growth import REMEDY, find_late_growth
from deepen.schedule.rate import rate_name


def describe_rate(plan: Plan) -> dict[str, Any]:
    """The rate of the planned run in JSON's types. `warmup` and `decay` are None where the rate has none."""
    schedule, ledger = plan.total.schedule, plan.request.ledger
    described: dict[str, Any] = {"shape": rate_name(schedule.rate), "warmup": None, "decay": None, "warnings": []}
    try:
        pieces = schedule.rate.pieces(schedule.grid)
    except InvalidValueError as error:
        return described | {"warnings": describe_errors(error, RECIPE_PLAN)}
    for piece in pieces:
        if piece.end_lr > piece.start_lr:
            described["warmup"] = {"shape": piece.shape, "tokens": piece.end}
        elif piece.end_lr < piece.start_lr:
            described["decay"] = {
                "shape": piece.shape,
                "start_tokens": piece.start,
                "share_of_tokens": 1 - piece.start / schedule.tokens,
                "share_of_flops": 1 - compute_share(ledger, schedule, piece.start),
                "final_share": piece.end_lr / piece.start_lr,
            }
    late = find_late_growth(schedule)
    if late is not None:
        described["warnings"] = [f"{plan.request.recipe_name} {late}. {REMEDY}"]
    return described


def rate_lines(rate: dict[str, Any]) -> list[str]:
    """The rate in sentences, as `describe_rate` describes it."""
    parts = []
    if rate["warmup"]:
        parts.append(f"warm-up over {counted(rate['warmup']['tokens'], 'token')}")
    if decay := rate["decay"]:
        parts.append(
            f"{decay['shape']} decay from {decay['start_tokens']:,} on, {100 * decay['share_of_tokens']:.1f} % of "
            f"the tokens and {100 * decay['share_of_flops']:.1f} % of the compute"
        )
    if not parts and not rate["warnings"]:
        parts.append("the same throughout")
    return [
        ": ".join(filter(None, (f"rate      {rate['shape']}", ", ".join(parts)))),
        *(f"warning   {warning}" for warning in rate["warnings"]),
    ]
