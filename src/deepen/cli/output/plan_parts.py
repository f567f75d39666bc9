"""The parts of a plan's phases for people: what each costs, and which parameters train."""

from typing import Any

from deepen.cli.output.tables import numbers, print_table, short, text
from deepen.compute.plan import Plan


def print_parts(plan: Plan) -> None:
    """Print each phase's FLOPs per token by part and direction."""
    how = "causal-exact" if plan.request.ledger.causal_exact else "densely"
    print_table(
        "parts: MFLOP per token, forward, recomputed, and backward to activations and to weights; "
        f"attention counted {how}; bytes per token where there are no FLOPs",
        (
            text("phase"),
            text("part"),
            numbers("parameters"),
            numbers("forward"),
            numbers("recompute"),
            numbers("activations"),
            numbers("weights"),
            numbers("bytes"),
        ),
        (
            (
                planned.phase.label if nth == 0 else "",
                part.part,
                short(part.parameters),
                *(
                    f"{flops / 1e6:,.2f}"
                    for flops in (part.forward, part.recompute, part.activation_backward, part.weight_backward)
                ),
                f"{part.bytes:,}",
            )
            for planned in plan.phases
            for nth, part in enumerate(plan.request.ledger.grouped_parts(planned.trained, planned.phase.context))
        ),
        droppable=("recompute", "bytes"),
    )


def print_trainable(plan: dict[str, Any]) -> None:
    """Print which parameters train in each phase; one that trains what the phase before did has one line."""
    rows: list[tuple[str, str, str, str]] = []
    before = None
    for phase in plan["phases"]:
        if phase["trainable"] == before:
            rows.append((phase["label"], "as in the phase before", "", ""))
            continue
        before = phase["trainable"]
        total = {
            "name": "in all",
            "tensors": sum(each["tensors"] for each in before),
            "parameters": sum(each["parameters"] for each in before),
        }
        rows += [
            (
                phase["label"] if nth == 0 else "",
                each["name"],
                f"{each['tensors']:,}",
                f"{each['parameters']:,}",
            )
            for nth, each in enumerate([*before, total])
        ]
    print_table(
        "trainable: the parameters that receive updates; blocks.8-11 are blocks 8 to 11",
        (text("phase"), text("parameter"), numbers("tensors"), numbers("parameters")),
        rows,
    )
