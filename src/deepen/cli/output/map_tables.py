"""A map on a terminal: its plan, its cells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepen.cli.output.plan_tables import describe_sharing
from deepen.cli.output.plan_time import time_sentences
from deepen.cli.output.tables import numbers, print_lines, print_sentences, print_table, short, text
from deepen.report.intervals import factor_text, factors_text
from deepen.report.map.words import describe_laws, describe_map, describe_scope, describe_shared, describe_withheld
from deepen.report.units import signed
from deepen.study.map.plan import MapPlan
from deepen.study.map.schema import MapCell, MapResults


def describe_map_plan(plan: MapPlan) -> dict[str, Any]:
    """The plan of a map as JSON's types."""
    return {
        "studies": [
            {
                "model": tree.study.model.name,
                "parameters_non_embedding": tree.study.model.parameters_non_embedding,
                "tokens": [*tree.study.earlier_tokens, tree.study.tokens],
                "arms": [arm.name for arm in tree.study.arms],
                "runs": len(tree.routes),
                "flops": tree.flops,
                "sharing": {"tokens_trained": tree.tokens, "tokens_if_separate": tree.tokens_if_separate},
            }
            for tree in plan.trees
        ],
        "flops": plan.flops,
        "sharing": {"tokens_trained": plan.tokens, "tokens_if_separate": plan.tokens_if_separate},
    }


def print_map_plan(plan: MapPlan, evaluation: Mapping[str, Any], time: Mapping[str, Any] | None) -> None:
    """Print what each study of a map trains, and what all of them share, cost and take."""
    arms = ", ".join(arm.name for arm in plan.trees[0].study.arms)
    print_table(
        f"map: {len(plan.trees)} models; {arms}; {len(plan.trees[0].study.seeds)} seeds",
        (
            text("model"),
            numbers("parameters"),
            text("tokens of full training"),
            numbers("runs to a mark"),
            numbers("tokens"),
            numbers("of separate runs"),
            numbers("FLOPs"),
        ),
        (
            (
                tree.study.model.name,
                short(tree.study.model.parameters_non_embedding),
                ", ".join(short(each) for each in (*tree.study.earlier_tokens, tree.study.tokens)),
                f"{len(tree.routes):,}",
                short(tree.tokens),
                f"{tree.tokens / tree.tokens_if_separate:.2f}",
                f"{tree.flops:.4g}",
            )
            for tree in plan.trees
        ),
    )
    sharing = describe_sharing(plan.tokens, plan.tokens_if_separate)
    counted = "Parameters count no embeddings, FLOPs attention densely."
    print_sentences([*time_sentences(evaluation, time), sharing, counted])


def print_map(found: MapResults, folder: Path) -> None:
    """Print what a map found, its cells, its law, and where its page is."""
    print_sentences([describe_map(found), ""])
    if found.cells:
        print_table(
            describe_scope(found),
            (
                text("arm"),
                text("model"),
                numbers("tokens per parameter"),
                numbers("difference"),
                numbers("multiplier"),
                numbers("95 % interval"),
                numbers("in seconds"),
                text("outcome"),
                text("best fixed depth"),
            ),
            map(_row, found.cells),
            droppable=("in seconds", "best fixed depth"),
        )
        print_sentences([*describe_withheld(found), *describe_laws(found), ""])
    unfinished = [study.model.name for study in found.studies if (study.trained_share or 0.0) < 1]
    if unfinished:
        print_sentences([f"Unfinished: {', '.join(unfinished)}."])
    if shared := describe_shared(found):
        print_sentences([shared])
    print_lines([f"Map: {folder / 'report' / 'index.html'}"])


def _row(cell: MapCell) -> tuple[str, ...]:
    beats = {True: "beaten", False: "not beaten", None: ""}[cell.beats_best_fixed_depth]
    if beats and cell.best_fixed_depth in cell.depths_better:
        beats = "better"
    elif cell.beats_best_fixed_depth and cell.depths_at_edge:
        beats = "beaten, a rate at the edge"
    return (
        cell.arm,
        cell.model.name,
        f"{cell.tokens_per_parameter:.3g}",
        signed(cell.difference),
        factor_text(cell.multiplier, cell.bound, cell.bounds),
        factors_text(cell.interval, cell.bounds),
        factor_text(cell.seconds_multiplier, cell.bound, cell.bounds),
        cell.outcome.value,
        f"{cell.best_fixed_depth}: {beats}" if beats else "",
    )
