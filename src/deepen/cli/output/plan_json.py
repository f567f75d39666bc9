"""A plan in JSON's types. Other people's scripts read its keys: keys may be added but not removed."""

import shlex
from dataclasses import asdict, replace
from typing import Any

from deepen.cli.output.plan_growth import describe_growths, describe_rescaled_growth
from deepen.cli.output.plan_plateau import describe_plateaus
from deepen.cli.output.plan_rate import describe_rate
from deepen.cli.requests.pilot import Pilot
from deepen.cli.requests.recipe_options import write_options
from deepen.compute.devices import Fleet
from deepen.compute.fit import find_fitting_settings, peak_bytes
from deepen.compute.ledger import Ledger, phase_flops
from deepen.compute.memory import complete_settings
from deepen.compute.plan import Plan, PlannedPhase, PlannedRun
from deepen.compute.timing import Timing
from deepen.compute.trainable_tensors import list_trained_tensors
from deepen.schedule.recipes import get_recipe


def describe_plan(
    plan: Plan, fleet: Fleet | None, timing: Timing | None, price_per_hour: float | None, pilot: Pilot | None
) -> dict[str, Any]:
    """The plan; FLOPs are of matrix products, per the attention convention that `attention_flops` names."""
    request = plan.request
    ledger, model, against = request.ledger, request.model, get_recipe(request.against)
    exact = replace(ledger, causal_exact=True)
    return {
        "recipe": request.recipe_name,
        "run": request.run_name,
        "batch_ramp": None if request.batch_ramp is None else str(request.batch_ramp),
        "context_ramp": None if request.context_ramp is None else str(request.context_ramp),
        "options": dict(request.options),
        "against": against.name,
        "against_options": request.against_options,
        "against_run": shlex.join([against.name, *write_options(against, request.against_options)]),
        "model": {
            "name": model.name,
            "family": model.family,
            "depth": model.depth,
            "width": model.width,
            "heads": model.heads,
            "kv_heads": model.kv_heads,
            "head_width": model.head_width,
            "mlp": model.mlp,
            "vocab": model.vocab,
            "context": model.context,
            "tied": model.tied,
            "biases": model.biases,
            "qk_norm": model.qk_norm,
            "norm_position": model.norm_position,
            "parametrization": model.parametrization,
            "parameters": model.parameters,
            "parameters_non_embedding": model.parameters_non_embedding,
        },
        "attention_flops": "causal-exact" if ledger.causal_exact else "dense",
        "budget": {"asked": request.budget, "unit": request.budget_unit, "got": plan.budget_reached},
        "phases": [_phase(ledger, planned) for planned in plan.phases],
        "total": _total(plan.total)
        | {
            "flops_causal_exact": sum(phase_flops(exact, plan.total.schedule)),
            "optimizer_products_flops": sum(
                planned.phase.steps * ledger.optimizer_products(planned.trained) for planned in plan.phases
            ),
            "optimizer_flops": sum(_optimizer_flops(ledger, planned) for planned in plan.phases),
        },
        "baseline": _total(plan.baseline),
        "staged_share": dict(plan.staged_share),
        "marks": {accounting: _mark(plan, total) for accounting, total in plan.marks.items()},
        "impossible_marks": dict(plan.impossible),
        "paper_ratios": [{"ratio": ratio, "continual_share": share} for ratio, share in plan.ratios.items()],
        "equal_tokens": _equal_tokens(plan, fleet.count if fleet else 1, price_per_hour),
        "plateaus": describe_plateaus(plan),
        "growths": describe_growths(plan),
        "growth_warning": describe_rescaled_growth(plan),
        "rate": describe_rate(plan),
        "pilot": None if pilot is None else asdict(pilot) | {"seconds_on_two_cores": pilot.seconds},
        "limit": _limit(plan),
        "memory": _memory(plan, fleet),
        "time": _time(plan, fleet, timing, price_per_hour),
    }


def _equal_tokens(plan: Plan, devices: int, price_per_hour: float | None) -> dict[str, Any] | None:
    """The run at equal tokens, and what it saves; None if there is none."""
    run, baseline = plan.equal_tokens, plan.baseline
    if run is None:
        return None

    def price(flops: int, seconds: float | None) -> dict[str, Any]:
        hours = None if seconds is None else seconds / 3600
        cost = None if hours is None or price_per_hour is None else hours * devices * price_per_hour
        return {"flops": flops, "hours": hours, "cost": cost}

    saved_seconds = None if run.seconds is None or baseline.seconds is None else baseline.seconds - run.seconds
    return {
        "tokens": run.schedule.tokens,
        "steps": run.schedule.steps,
        "flops_share": run.flops / baseline.flops,
        **price(run.flops, run.seconds),
        "baseline": price(baseline.flops, baseline.seconds),
        "saved": price(baseline.flops - run.flops, saved_seconds),
    }


def _limit(plan: Plan) -> dict[str, Any] | None:
    """The time limit, and how many times each run fits into it; None if there is no limit."""
    if plan.request.limit_hours is None:
        return None
    return {
        "hours": plan.request.limit_hours,
        "fits": {
            "baseline": plan.fits_into_limit(plan.baseline),
            "equal_tokens": plan.fits_into_limit(plan.equal_tokens) if plan.equal_tokens else None,
            "equal_compute": plan.fits_into_limit(plan.total),
        },
    }


def _phase(ledger: Ledger, planned: PlannedPhase) -> dict[str, Any]:
    phase, trained = planned.phase, planned.trained
    return {
        "label": phase.label,
        "depth": phase.depth,
        "scope": str(phase.train),
        "tokens": phase.tokens,
        "steps": phase.steps,
        "batch_tokens": phase.batch_tokens,
        "context": phase.context,
        "trainable_parameters": ledger.trainable_parameters(trained),
        "flops_per_token": ledger.flops_per_token(trained, phase.context),
        "flops": planned.flops,
        "flops_per_step": ledger.flops_per_step(trained, phase.batch_tokens, phase.context),
        "optimizer_products_flops": phase.steps * ledger.optimizer_products(trained),
        "optimizer_flops": _optimizer_flops(ledger, planned),
        "parts": [asdict(part) for part in ledger.grouped_parts(trained, phase.context)],
    }


def describe_trainable(plan: Plan) -> list[list[dict[str, Any]]]:
    """For each phase, the tensors that it trains."""
    return [
        [asdict(tensors) for tensors in list_trained_tensors(plan.request.model, planned.trained)]
        for planned in plan.phases
    ]


def _optimizer_flops(ledger: Ledger, planned: PlannedPhase) -> int:
    return planned.phase.steps * ledger.optimizer_flops(planned.trained)


def _total(total: PlannedRun) -> dict[str, Any]:
    return {"tokens": total.schedule.tokens, "steps": total.schedule.steps, "flops": total.flops}


def _mark(plan: Plan, mark: PlannedRun) -> dict[str, Any]:
    return {
        "continual_tokens": mark.continual_tokens,
        "continual_share": mark.continual_tokens / plan.baseline.schedule.tokens,
        "total_steps": mark.schedule.steps,
        "flops": mark.flops,
        "flops_share": mark.flops / plan.baseline.flops,
        "seconds": mark.seconds,
    }


def _memory(plan: Plan, fleet: Fleet | None) -> dict[str, Any]:
    settings, peak = plan.request.memory, plan.peak
    capacity = fleet.device.memory_bytes if fleet else None
    phases = [_phase_memory(plan, planned) for planned in plan.phases]
    return {
        **asdict(settings),
        "moment_precision": "fp32" if settings.optimizer.state_bytes >= 8 else "bf16",  # of AdamW's two moments
        "phases": phases,
        "peak": peak.memory.peak,
        "peak_phase": peak.phase.label,
        "peak_without_checkpointing": peak_bytes(plan, replace(settings, activation_checkpointing=False)),
        "reduces_gradients_once": any(phase["reduces_gradients_once"] for phase in phases),
        "device_bytes": capacity,
        "fits": None if not capacity else peak.memory.peak <= capacity,
        "remedy": find_fitting_settings(plan, capacity) if capacity and peak.memory.peak > capacity else None,
    }


def _phase_memory(plan: Plan, planned: PlannedPhase) -> dict[str, Any]:
    phase, request = planned.phase, plan.request
    settings = complete_settings(request.model, phase, planned.trained, request.memory)
    is_one_micro_batch = settings.micro_batch_tokens * settings.devices >= phase.batch_tokens
    return {
        "label": phase.label,
        **asdict(planned.memory),
        "peak": planned.memory.peak,
        "micro_batch_tokens": settings.micro_batch_tokens,
        "reduces_gradients_once": settings.sharded and (settings.reduce_once or is_one_micro_batch),
        "context": phase.context,
    }


def _time(
    plan: Plan, fleet: Fleet | None, timing: Timing | None, price_per_hour: float | None
) -> dict[str, Any] | None:
    """Hours and cost, where a device or its bench figures were named. Evaluation and saving are not in it."""
    if plan.total.seconds is None or plan.baseline.seconds is None:
        return None
    count = fleet.count if fleet else 1

    def of(seconds: float) -> dict[str, Any]:
        hours = seconds / 3600
        return {"hours": hours, "cost": None if price_per_hour is None else hours * count * price_per_hour}

    if fleet:
        source = {
            "device": fleet.device.name,
            "mfu": fleet.mfu,
            "peak_flops": fleet.device.peak_flops,
            "source": fleet.device.source,
        }
    else:
        assert timing is not None
        source = {"device": timing.device, "mfu": None, "peak_flops": None, "source": "deepen bench"}
    return {
        **source,
        "count": count,
        "price_per_hour": price_per_hour,
        **of(plan.total.seconds),
        "baseline": of(plan.baseline.seconds),
        "phases": [{"label": planned.phase.label, **of(planned.seconds or 0.0)} for planned in plan.phases],
    }
