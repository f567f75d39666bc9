"""`deepen plan STUDY`: what a study trains, arm by arm and mark by mark."""

import json
from collections.abc import Sequence
from functools import partial

from deepen.cli.commands.study import OPTIONS, study_of
from deepen.cli.output.tables import print_lines, print_table, short
from deepen.cli.requests.options import read_request
from deepen.compute.ledger import phase_flops
from deepen.study.compile.marks import budget_flops, compile_marks
from deepen.study.define.presets import STUDIES


def plan_study(argv: Sequence[str]) -> int:
    """Print the marks of every arm of a study."""
    request = read_request("plan", argv, OPTIONS, what="STUDY", about="What a study trains.", known=STUDIES)
    study = study_of(request)
    marks = {arm.name: request.attempt(partial(compile_marks, study, arm)) for arm in study.arms} if study else {}
    request.check()
    assert study is not None
    rows = [
        {
            "arm": name,
            "accounting": mark.accounting,
            "budget_share": mark.budget_share,
            "steps": mark.schedule.steps,
            "tokens": mark.schedule.tokens,
            "flops": sum(phase_flops(study.ledger, mark.schedule)),
        }
        for name, of_arm in marks.items()
        for mark in of_arm
    ]
    if request.get("json"):
        told = {
            "study": study.name,
            "budget_flops": budget_flops(study),
            "attention_flops": "dense",
            "marks": rows,
        }
        print(json.dumps(told, indent=1))
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
    print_lines(["FLOPs count attention densely."])
    return 0
