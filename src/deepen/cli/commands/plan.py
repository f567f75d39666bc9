"""`deepen plan RECIPE` and `deepen plan STUDY`: what training would cost; nothing is trained."""

import json
from dataclasses import replace
from typing import Any, Protocol

from deepen.cli.output.map_tables import describe_map_plan, print_map_plan
from deepen.cli.output.plan_json import describe_plan, describe_trainable
from deepen.cli.output.plan_parts import print_parts, print_trainable
from deepen.cli.output.plan_tables import print_plan, print_study_plan
from deepen.cli.output.plan_time import describe_cards, describe_evaluation, describe_time, print_cards
from deepen.cli.requests.pilot import design_pilot
from deepen.cli.requests.plan import RecipePlanRequest, StudyPlanRequest
from deepen.cli.requests.plan_options import CPU
from deepen.compute.clock import Clock, bench_clock, datasheet_clock
from deepen.compute.devices import DEFAULT_MFU, DEVICES, Device, Fleet, assumed_mfu
from deepen.compute.fit import checkpoint_to_fit
from deepen.compute.plan import make_plan
from deepen.schedule.late_growth import REMEDY, find_late_growth
from deepen.schedule.rate import rate_name
from deepen.study.compile.study_plan import plan_study
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.map.plan import plan_map
from deepen.study.results.results_file import find_results
from deepen.train.limits import check_room_for_torch


class FleetRequest(Protocol):
    """A request that may name devices: see `RecipePlanRequest`."""

    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def mfu(self) -> float | None: ...  # noqa: D102


def run(request: RecipePlanRequest | StudyPlanRequest) -> int:
    """Print the plan."""
    if isinstance(request, StudyPlanRequest):
        return _plan_map(request) if request.map_studies else _plan_study(request)
    return _plan_recipe(request)


def _plan_recipe(request: RecipePlanRequest) -> int:
    fleet = make_fleet(request, request.plan.memory.precision)
    plan = make_plan(request.plan, _make_clock(request, fleet))
    if request.may_checkpoint and fleet and (smaller := checkpoint_to_fit(plan, fleet.device.memory_bytes)):
        request = replace(request, plan=smaller)
        plan = make_plan(smaller, _make_clock(request, fleet))
    pilot = None if plan.equal_tokens is None else design_pilot(plan, request.recipe_words)
    description = describe_plan(plan, fleet, request.timing, request.price_per_hour, pilot)
    if request.show_trainable:
        for phase, tensors in zip(description["phases"], describe_trainable(plan), strict=True):
            phase["trainable"] = tensors
    if request.as_json:
        print(json.dumps(description, indent=1, allow_nan=False))
    else:
        print_plan(description)
        if request.show_parts:
            print_parts(plan)
        if request.show_trainable:
            print_trainable(description)
    if request.figure is not None:
        from deepen.report.figures.plan_figure import draw_plan  # seconds to import, and seldom asked for

        draw_plan(plan, request.figure)
        if not request.as_json:
            print(f"figure: {request.figure}")
    return 0


def make_fleet(request: FleetRequest, precision: str) -> Fleet | None:
    """The devices that a request names; a CPU is measured first."""
    if not request.device:
        return None
    device = _measure_cpu(precision) if request.device == CPU else DEVICES[request.device]
    return Fleet(device=device, count=request.count, mfu=DEFAULT_MFU if request.mfu is None else request.mfu)


def _measure_cpu(precision: str) -> Device:
    check_room_for_torch()
    from deepen.train.device import measure_cpu  # torch, for the one device that is not in the table

    return measure_cpu(precision)


def _make_clock(request: RecipePlanRequest, fleet: Fleet | None) -> Clock | None:
    """What gives the seconds of a phase: bench figures, or the devices' FLOP/s."""
    if request.timing is not None:
        return bench_clock(request.timing)
    return None if fleet is None else datasheet_clock(request.plan.ledger, fleet)


def _plan_study(request: StudyPlanRequest) -> int:
    from deepen.cli.output.plan_power import describe_power, print_power  # numpy: seldom needed
    from deepen.study.judge.looks import find_looks
    from deepen.study.judge.planned_power import plan_power

    study, plan = request.study, plan_study(request.study)
    tree = compile_study(study, data_fingerprint="")  # identifies segments among themselves
    rows = [
        {
            "arm": planned.arm,
            "accounting": planned.mark.accounting,
            "budget_share": planned.mark.budget_share,
            "steps": planned.steps,
            "tokens": planned.tokens,
            "flops": planned.flops,
            "earliest": None
            if (earliest := planned.earliest) is None
            else {"steps": earliest.schedule.steps, "tokens": earliest.schedule.tokens},
            "rate": rate_name(planned.mark.schedule.rate),
            "peak_lr": planned.mark.schedule.rate.peak,
            "warnings": [f"arm {planned.arm} {late}. {REMEDY}"]
            if (late := find_late_growth(planned.mark.schedule))
            else [],
        }
        for planned in plan.marks
    ]
    sharing = {"tokens_trained": tree.tokens, "tokens_if_separate": tree.tokens_if_separate}
    trials = _describe_trials(tree)
    evaluation, time, cards = _describe_cost(request, (tree,))
    before = find_results(request.folder)
    powers = plan_power(plan, before)
    if request.as_json:
        description = {
            "study": study.name,
            "budget_flops": plan.budget_flops,
            "attention_flops": "dense",
            "marks": rows,
            "sharing": sharing,
            "trials": trials,
            "power": describe_power(powers, request.folder),
            "evaluation": evaluation,
            "time": time,
            "cards": cards,
        }
        print(json.dumps(description, indent=1))
    else:
        print_study_plan(study, rows, sharing, trials, evaluation, time)
        looks = () if before is None else find_looks(before)
        print_power(powers, max(study.seeds_planned, len(study.seeds)), looks, request.folder)
        if cards:
            print_cards(request.preset, request.minutes, cards, (tree,))
    return 0


def _describe_trials(tree: Tree) -> dict[str, Any] | None:
    """The trials of a study; None if it has none."""
    tuning = tree.tuning
    if not tuning.arms:
        return None
    keys = {key for _, run in tuning.runs for key in run.keys}
    return {
        "arms": [each.arm.name for each in tuning.arms],
        "trials_per_arm": len(tuning.arms[0].trials) + tuning.arms[0].trials_to_come,
        "runs": sum(1 for _ in tuning.runs) + tuning.runs_to_come,
        "runs_to_come": tuning.runs_to_come,
        "seeds": list(tree.study.trials.seeds),
        "share": tree.study.trials.share,
        "flops": sum(tree.nodes[key].segment.flops for key in keys) + tuning.max_flops_to_come,
        "fixed_depths": [each.fixed_depth for each in tuning.arms if each.fixed_depth is not None],
    }


def _plan_map(request: StudyPlanRequest) -> int:
    plan = plan_map(request.map_studies)
    evaluation, time, cards = _describe_cost(request, plan.trees)
    if request.as_json:
        description = describe_map_plan(plan) | {"evaluation": evaluation, "time": time, "cards": cards}
        print(json.dumps(description, indent=1))
    else:
        print_map_plan(plan, evaluation, time)
        if cards:
            print_cards(request.preset, request.minutes, cards, plan.trees)
    return 0


def _describe_cost(
    request: StudyPlanRequest, trees: tuple[Tree, ...]
) -> tuple[dict[str, Any], dict[str, Any] | None, list[dict[str, Any]]]:
    """What studies cost beside training; what they take on the named device; what a preset takes on each card."""
    fleet = make_fleet(request, request.study.settings.precision)
    fleets = [] if fleet is None else [_at_utilization(fleet, request, tree) for tree in trees]
    time = describe_time(trees, fleets, request.price_per_hour)
    return describe_evaluation(trees), time, describe_cards(trees) if request.minutes and not fleets else []


def _at_utilization(fleet: Fleet, request: StudyPlanRequest, tree: Tree) -> Fleet:
    """The devices at what is assumed for a study's model, unless a utilization was given or they are a CPU."""
    if request.mfu is not None or request.device == CPU:
        return fleet
    return replace(fleet, mfu=assumed_mfu(tree.study.model.width))
