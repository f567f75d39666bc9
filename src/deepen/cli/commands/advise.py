"""`deepen advise`: what a measured map and the ledger suggest for a model and a budget."""

import json
import shlex
from typing import Any

from deepen.cli.commands.plan import make_fleet
from deepen.cli.output.advice import print_advice
from deepen.cli.requests.advise import AdviseRequest
from deepen.cli.requests.pilot import SEEDS, Pilot, design_pilot, shrink
from deepen.cli.requests.recipe_options import write_options
from deepen.compute.plan_recipe import plan_recipe
from deepen.schedule.recipes import get_recipe
from deepen.study.advise import MEASURED_MAP, Advice, ArmAdvice, advise
from deepen.study.compile.tree import compile_study
from deepen.study.define.fair import fair
from deepen.study.map.schema import load_map

DEFAULT_TEST = "one-shot"
"""The recipe that is tested where no map suggests another."""

TEST_BUDGETS = (5, 100)
"""The fewest and the most tokens per parameter of a test: fewer are not enough steps, more take long."""


def run(request: AdviseRequest) -> int:
    """Print the advice."""
    found = load_map(request.map or MEASURED_MAP)
    advice = advise(found, request.model, request.tokens, batch_tokens=request.batch_tokens)
    fleet = make_fleet(request, "bf16")
    hours = None if fleet is None else fleet.seconds(advice.flops) / 3600
    price = request.price_per_hour
    cost = None if hours is None or price is None else hours * request.count * price
    description = describe_advice(advice, hours=hours, cost=cost, test=_design_test(advice, request)) | {
        "map": None if request.map is None else str(request.map),
        "map_device": found.device,
        "device": None if fleet is None else fleet.device.name,
        "count": request.count,
        "mfu": None if fleet is None else fleet.mfu,
    }
    if request.as_json:
        print(json.dumps(description, indent=1))
    else:
        print_advice(description)
    return 0


def describe_advice(
    advice: Advice, *, hours: float | None, cost: float | None, test: Pilot | None
) -> dict[str, Any]:
    """The advice in JSON's types, with the hours and the cost of full training, and what would be saved."""
    model = advice.model
    return {
        "conclusion": advice.conclusion,
        "reasons": list(advice.reasons),
        "model": {
            "name": model.name,
            "depth": model.depth,
            "width": model.width,
            "parameters_non_embedding": model.parameters_non_embedding,
        },
        "tokens": advice.tokens,
        "tokens_per_parameter": advice.tokens_per_parameter,
        "full_training": {"flops": advice.flops, "hours": hours, "cost": cost},
        "arms": [_describe_arm(arm, advice.flops, hours, cost) for arm in advice.arms],
        "ceilings": dict(advice.ceilings),
        "test": None
        if test is None
        else {"command": test.command, "flops": test.flops, "seconds_on_two_cores": test.seconds},
    }


def _describe_arm(arm: ArmAdvice, flops: int, hours: float | None, cost: float | None) -> dict[str, Any]:
    amounts = {"flops": float(flops), "hours": hours, "cost": cost}
    return {
        "arm": arm.arm,
        "recipe": arm.recipe,
        "options": dict(arm.options),
        "is_control": arm.is_control,
        "multiplier": arm.multiplier,
        "interval": arm.interval,
        "outside": list(arm.outside),
        "ceiling": arm.ceiling,
        "exceeds_ceiling": arm.exceeds_ceiling,
        "cells": arm.cells,
        "wins": arm.wins,
        "compared_with_best_fixed_depth": arm.depth_cells,
        "wins_against_best_fixed_depth": arm.depth_wins,
        "seconds_factor": arm.seconds_factor,
        "saved": {
            "share": arm.saved_share,
            "share_interval": arm.saved_interval,
            **{unit: None if each is None else each * arm.saved_share for unit, each in amounts.items()},
        },
    }


def _design_test(advice: Advice, request: AdviseRequest) -> Pilot | None:
    """A study on a small model that would test the most promising recipe; None if there is none.

    It is fair: every arm tuned alike, with the controls and constant depths. Where the recipe has options, which
    such a study does not take, it is the pilot of a plan.
    """
    best = advice.best
    recipe, options = (DEFAULT_TEST, {}) if best is None else (best.recipe, dict(best.options))
    try:
        if not options:
            return _design_fair(advice, recipe)
        plan = plan_recipe(
            recipe, options=options, model=advice.model, tokens=advice.tokens, batch_tokens=request.batch_tokens
        )
    except ValueError:
        return None
    return design_pilot(plan, [recipe, *write_options(get_recipe(recipe), options)])


def _design_fair(advice: Advice, recipe: str) -> Pilot:
    model, model_words = shrink(advice.model)
    fewest, most = TEST_BUDGETS
    budget = round(min(max(advice.tokens_per_parameter, fewest), most))
    study = fair(model=model, budgets=(budget,), recipes=(recipe,), seeds=SEEDS)
    tree = compile_study(study, data_fingerprint="")
    words = ["study", "fair", *model_words]
    words += ["--budgets", str(budget), "--recipes", recipe, "--seeds", str(SEEDS)]
    return Pilot(command=shlex.join(["deepen", *words]), model=model.name, flops=tree.flops)
