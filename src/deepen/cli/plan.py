"""`deepen plan RECIPE`: phases, FLOPs and marks of a recipe, or the arms of a study; trains nothing."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from deepen.cli.options import Option, Request, nearest, read_request
from deepen.cli.shared_options import (
    BUDGET_OPTIONS,
    MODEL_OPTION,
    RECIPE_OPTIONS,
    VOCAB_OPTION,
    arm_of,
    model_of,
    tokens_of,
)
from deepen.cli.study import OPTIONS as STUDY_OPTIONS
from deepen.cli.study import study_of
from deepen.cli.tables import print_lines, print_table, short
from deepen.compute import paper
from deepen.compute.ledger import Ledger, new_blocks_of, phase_flops
from deepen.schedule.recipes import CONTINUAL, RECIPES, stages_of
from deepen.study.arms import Evaluation, Mark, Study, budget_flops, marks_of
from deepen.study.presets import STUDIES, TOKENS_PER_STEP

PLAN_OPTIONS = (
    MODEL_OPTION,
    VOCAB_OPTION,
    *BUDGET_OPTIONS,
    *RECIPE_OPTIONS,
    Option(name="json", read=None, help="print as JSON"),
)
DEFAULT_STEPS = 10_000


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    if any(word in STUDIES for word in argv):
        return _plan_study(argv)
    about = "What a recipe costs at the budget of full training, or what a study trains (deepen plan paper)."
    request = read_request("plan", argv, PLAN_OPTIONS, what="RECIPE", about=about)
    if request.name and request.name not in RECIPES:
        names = [*RECIPES, *STUDIES]
        request.problems.append(
            f"RECIPE {request.name!r} is unknown{nearest(request.name, names)}: use {', '.join(names)}"
        )
    study = _study_of_recipe(request)
    marks = request.attempt(lambda: marks_of(study, study.arms[0])) if study else None
    request.check()
    assert study is not None and marks is not None
    plan = describe(study, marks)
    if request.get("json"):
        print(json.dumps(plan, indent=1))
    else:
        _print(plan)
    return 0


def _study_of_recipe(request: Request) -> Study | None:
    model = model_of(request, "gpt2-124m")
    arm = arm_of(request, model)
    context = request.get("context", model.context)
    batch_tokens = request.get("batch_tokens", max(1, TOKENS_PER_STEP[model.name] // context) * context)
    tokens = tokens_of(request, batch_tokens, default=DEFAULT_STEPS * batch_tokens)
    if request.name not in RECIPES:
        return None
    study: Study | None = request.attempt(
        lambda: Study(
            name=f"plan {arm.name}",
            model=model,
            tokens=tokens,
            batch_tokens=batch_tokens,
            context=context,
            arms=(arm,),
            evaluation=Evaluation(every_tokens=batch_tokens, validation_tokens=context),
            anchors=(1.0,),
            baseline=arm.name,
        )
    )
    return study


def describe(study: Study, marks: Sequence[Mark]) -> dict[str, Any]:
    """The plan of a study's only arm, in JSON's types. FLOPs count attention densely."""
    ledger, arm = Ledger(model=study.model), study.arms[0]
    causal = Ledger(model=study.model, causal_exact=True)
    by_accounting = {mark.accounting: mark for mark in marks}
    schedule = by_accounting["flops"].schedule
    flops = phase_flops(ledger, schedule)
    budget, steps = budget_flops(study), study.baseline_tokens // study.batch_tokens
    staged = {}
    if any(phase.label == CONTINUAL for mark in marks for phase in mark.schedule.phases):
        parts = [f for f, phase in zip(flops, schedule.phases, strict=True) if phase.label != CONTINUAL]
        staged["flops"] = sum(parts) / budget
        if "paper" in by_accounting:
            staged["paper"] = float(paper.staged_share(stages_of(arm.options)))
    return {
        "recipe": arm.recipe,
        "model": {
            "name": study.model.name,
            "depth": study.model.depth,
            "parameters": study.model.parameters,
            "parameters_non_embedding": study.model.parameters_non_embedding,
        },
        "attention_flops": "dense",
        "phases": [
            {
                "label": phase.label,
                "depth": phase.depth,
                "scope": str(phase.train),
                "tokens": phase.tokens,
                "steps": phase.tokens // phase.batch_tokens,
                "batch_tokens": phase.batch_tokens,
                "context": phase.context,
                "trainable_parameters": ledger.trainable_parameters(phase, blocks),
                "flops_per_token": ledger.flops_per_token(phase, blocks),
                "flops": cost,
            }
            for phase, blocks, cost in zip(schedule.phases, new_blocks_of(schedule), flops, strict=True)
        ],
        "total": {
            "tokens": schedule.tokens,
            "steps": schedule.tokens // study.batch_tokens,
            "flops": sum(flops),
            "flops_causal_exact": sum(phase_flops(causal, schedule)),
        },
        "baseline": {"tokens": study.baseline_tokens, "steps": steps, "flops": budget},
        "staged_share": staged,
        "marks": {
            accounting: {
                "continual_tokens": sum(p.tokens for p in mark.schedule.phases if p.label == CONTINUAL),
                "continual_share": sum(p.tokens for p in mark.schedule.phases if p.label == CONTINUAL)
                / study.baseline_tokens,
                "total_steps": mark.schedule.tokens // study.batch_tokens,
                "flops": sum(phase_flops(ledger, mark.schedule)),
            }
            for accounting, mark in by_accounting.items()
        },
    }


def _print(plan: dict[str, Any]) -> None:
    model = plan["model"]
    print_table(
        f"{plan['recipe']} on {model['name']}: {model['depth']} blocks, {model['parameters']:,} parameters",
        ("<phase", "depth", "<trains", "steps", "tokens", "trainable", "MFLOP/token", "share of compute"),
        (
            (
                phase["label"],
                str(phase["depth"]),
                phase["scope"],
                f"{phase['steps']:,}",
                short(phase["tokens"]),
                short(phase["trainable_parameters"]),
                f"{phase['flops_per_token'] / 1e6:.1f}",
                f"{100 * phase['flops'] / plan['total']['flops']:.1f} %",
            )
            for phase in plan["phases"]
        ),
    )
    total, baseline = plan["total"], plan["baseline"]
    lines = [
        f"total     {total['steps']:,} steps, {total['tokens']:,} tokens, {total['flops']:.4g} FLOPs",
        f"baseline  {baseline['steps']:,} steps, {baseline['tokens']:,} tokens, {baseline['flops']:.4g} FLOPs",
        f"FLOPs count attention densely; counted causally, the run costs {total['flops_causal_exact']:.4g}",
    ]
    for accounting, mark in plan["marks"].items():
        share = plan["staged_share"].get(accounting)
        staged = f", staged part {share:.3f} of the baseline" if share is not None else ""
        share_of_exact = mark["flops"] / baseline["flops"]
        lines.append(
            f"mark      {accounting}: {mark['total_steps']:,} steps in all, "
            f"continual {mark['continual_share']:.3f} T{staged}; {share_of_exact:.3f} of the baseline's FLOPs"
        )
    print_lines(lines)


def _plan_study(argv: Sequence[str]) -> int:
    request = read_request("plan", argv, STUDY_OPTIONS, what="STUDY", about="What a study trains.", known=STUDIES)
    study = study_of(request)
    marks = {arm.name: request.attempt(partial(marks_of, study, arm)) for arm in study.arms} if study else {}
    request.check()
    assert study is not None
    ledger = Ledger(model=study.model)
    rows = [
        {
            "arm": name,
            "accounting": mark.accounting,
            "budget_share": mark.budget_share,
            "steps": mark.schedule.tokens // study.batch_tokens,
            "tokens": mark.schedule.tokens,
            "flops": sum(phase_flops(ledger, mark.schedule)),
        }
        for name, of_arm in marks.items()
        for mark in of_arm
    ]
    if request.get("json"):
        print(json.dumps({"study": study.name, "budget_flops": budget_flops(study), "marks": rows}, indent=1))
        return 0
    print_table(
        f"{study.name}: {study.model.name}, {study.baseline_tokens:,} tokens, {study.batch_tokens:,} a step",
        ("<arm", "<mark", "budget", "steps", "tokens", "FLOPs"),
        (
            (
                row["arm"],
                row["accounting"],
                f"{row['budget_share']:.2f}",
                f"{row['steps']:,}",
                short(row["tokens"]),
                f"{row['flops']:.4g}",
            )
            for row in rows
        ),
    )
    return 0
