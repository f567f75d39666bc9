"""The phases of a plan that may end on a plateau of the loss: the bounds between which training decides."""

from typing import Any

from deepen.compute.plan import Plan
from deepen.compute.triggers import early_ends
from deepen.report.units import counted


def describe_plateaus(plan: Plan) -> dict[str, Any] | None:
    """The bounds in JSON's types; None if no phase may end on a plateau."""
    earliest = plan.earliest
    if earliest is None:
        return None
    return {
        "phases": [
            {"label": end.label, "earliest_tokens": end.earliest, "latest_tokens": end.latest}
            for end in early_ends(plan.total.schedule, earliest.schedule)
        ],
        "earliest": {
            "tokens": earliest.schedule.tokens,
            "steps": earliest.schedule.steps,
            "flops": earliest.flops,
            "seconds": earliest.seconds,
        },
    }


def plateau_lines(plan: dict[str, Any]) -> list[str]:
    """The bounds in sentences."""
    if (plateaus := plan["plateaus"]) is None:
        return []
    earliest, latest = plateaus["earliest"], plan["total"]
    lines = [
        f"plateau   {phase['label']!r} ends where its loss falls too slowly, after {phase['earliest_tokens']:,} "
        f"to {phase['latest_tokens']:,} tokens"
        for phase in plateaus["phases"]
    ]
    lines.append(
        f"bounds    the table shows the latest ends; {counted(earliest['steps'], 'step')} of "
        f"{earliest['flops']:.4g} FLOPs in all with the earliest, {latest['steps']:,} of {latest['flops']:.4g} "
        "with these"
    )
    return lines
