"""`deepen plan RECIPE`: what a recipe costs and where its compute equals the baseline's; trains nothing."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from deepen.cli.commands.plan_study import plan_study
from deepen.cli.commands.study import OPTIONS as STUDY_OPTIONS
from deepen.cli.output.plan_json import describe
from deepen.cli.output.plan_tables import print_parts, print_plan
from deepen.cli.requests.options import Option, Request, choice, number, path_of, positional, read_request, whole
from deepen.cli.requests.shared import (
    BUDGET_OPTIONS,
    MODEL_OPTION,
    MOMENT_PRECISION_OPTION,
    RECIPE_OPTIONS,
    SIZE_OPTIONS,
    VOCAB_OPTION,
    arm_of,
    model_of,
)
from deepen.compute.bench_file import read_timing
from deepen.compute.clock import Clock
from deepen.compute.devices import DEFAULT_UTILISATION, DEVICES, Device, Fleet
from deepen.compute.ledger import Ledger
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import Plan, make_plan
from deepen.compute.plan_request import BUDGETS, PlanRequest
from deepen.compute.timing import Timing
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.schedule.phase import Phase
from deepen.schedule.ramp import Ramp
from deepen.schedule.recipes import RECIPES
from deepen.schedule.trainable import TrainedParts
from deepen.study.define.presets import STUDIES
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import PRECISIONS

ATTENTION = ("dense", "causal-exact")
FIGURES = (".png", ".svg", ".pdf")
DEFAULT_STEPS = 10_000


def _ramp(text: str) -> Ramp:
    """Reads a ramp such as 0:131072,0.25:524288."""
    try:
        pairs = [step.split(":") for step in text.split(",")]
        return Ramp(steps=tuple((float(share), whole(1)(value)) for share, value in pairs))
    except ValueError as error:
        raise ValueError(f"is {text!r}: write share:tokens pairs, 0:256,0.5:1024 ({error})") from None


def _figure(text: str) -> Path:
    path = path_of(text)
    if path.suffix not in FIGURES:
        raise ValueError(f"is {text!r}: its name must end in {', '.join(FIGURES)}")
    if not os.access(path.absolute().parent, os.W_OK) or path.is_dir():
        raise ValueError(f"is {text!r}: name a file in a folder that exists and can be written to")
    return path


def _device(text: str) -> str:
    return choice((*DEVICES, "cpu"))(text.lower())


OPTIONS = (
    MODEL_OPTION,
    *SIZE_OPTIONS,
    VOCAB_OPTION,
    *BUDGET_OPTIONS,
    Option(name="flops", read=number(0), help="the budget in FLOPs"),
    Option(name="tokens-per-parameter", read=number(0), help="the budget in tokens per non-embedding parameter"),
    Option(name="hours", read=number(0), help="the budget in hours of all devices"),
    Option(name="against", read=choice(RECIPES), help="recipe that compute is held against (default full)"),
    Option(name="batch-ramp", read=_ramp, help="batch along the run: 0:131072,0.25:524288 (share:tokens)"),
    Option(name="context-ramp", read=_ramp, help="context along the run: 0:256,0.5:1024"),
    *RECIPE_OPTIONS,
    Option(name="attention", read=choice(ATTENTION), help="FLOPs of attention: dense (default) or causal-exact"),
    Option(name="ratio", read=number(0), help="backward:forward price in the paper's formula (default 1)"),
    Option(name="device", read=_device, help=f"{', '.join(DEVICES)}, or cpu, measured here: gives hours"),
    Option(name="count", read=whole(1, 10**6), help="devices (default 1)"),
    Option(name="mfu", read=number(0, 1), help=f"share of the device's peak (default {DEFAULT_UTILISATION})"),
    Option(name="bench", read=path_of, help="file of `deepen bench` figures, in place of --device and --mfu"),
    Option(name="price-per-hour", read=number(0), help="price of a device for an hour"),
    Option(name="precision", read=choice(PRECISIONS), help="default bf16 with a GPU named, else fp32"),
    MOMENT_PRECISION_OPTION,
    Option(name="micro-batch-tokens", read=whole(1), help="tokens a device takes at once"),
    Option(name="shard", read=None, help="weights, gradients and moments sharded over the devices (FSDP)"),
    Option(name="activation-checkpointing", read=None, help="blocks store their input alone and run twice"),
    Option(name="parts", read=None, help="FLOPs and bytes of each part and direction too"),
    Option(name="figure", read=_figure, help="draw depth, trained part and compute over tokens to a file"),
    Option(name="json", read=None, help="print as JSON"),
)


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    if positional(argv, (*OPTIONS, *STUDY_OPTIONS)) in STUDIES:
        return plan_study(argv)
    about = "What a recipe costs at the budget of full training, or what a study trains (deepen plan paper)."
    request = read_request("plan", argv, OPTIONS, what="RECIPE", about=about, known=(*RECIPES, *STUDIES))
    plan, fleet, timing = _plan(request)
    request.check()
    assert plan is not None
    told = describe(plan, fleet, timing, request.get("price_per_hour"))
    if request.get("json"):
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print_plan(told)
        if request.get("parts"):
            print_parts(plan)
    if path := request.get("figure"):
        from deepen.report.plan_figure import draw_plan

        draw_plan(plan, path)
        if not request.get("json"):
            print(f"figure: {path}")
    return 0


def _plan(request: Request) -> tuple[Plan | None, Fleet | None, Timing | None]:
    """The plan a request asks for, and how its seconds were told; problems are added to the request."""
    model = model_of(request, "gpt2-124m")
    arm = arm_of(request, model)
    _check_together(request)
    timing = _timing(request, model)
    device = request.get("device")
    precision = request.get("precision") or (
        timing.precision if timing else "bf16" if device in DEVICES else "fp32"
    )
    fleet = _fleet(request, precision)
    checkpointing = "activation_checkpointing" in request.values
    ledger = Ledger(
        model=model,
        causal_exact=request.get("attention") == "causal-exact",
        activation_checkpointing=checkpointing,
    )
    if request.name not in RECIPES:
        return None, fleet, timing
    clock = _clock(ledger, fleet, timing)
    unit = next((unit for unit in BUDGETS if unit in request.values and (unit != "hours" or clock)), "steps")
    plan_request: PlanRequest | None = request.attempt(
        lambda: PlanRequest(
            model=model,
            recipe=request.name,
            options=arm.options,
            budget=request.get(unit, DEFAULT_STEPS),
            budget_unit=unit,
            batch_tokens=_batch_tokens(request, model, timing),
            context=request.get("context", model.context),
            ledger=ledger,
            memory=MemorySettings(
                precision=precision,
                optimizer=OptimizerSpec.adamw(state_precision=request.get("moment_precision", "fp32")).cost,
                micro_batch_tokens=request.get("micro_batch_tokens", 0),
                devices=request.get("count", 1),
                sharded="shard" in request.values,
                activation_checkpointing=checkpointing,
                gpu=device in DEVICES,
            ),
            against=request.get("against", "full"),
            ratio=request.get("ratio", 1.0),
            batch_ramp=request.get("batch_ramp"),
            context_ramp=request.get("context_ramp"),
            clock=clock,
        )
    )
    if plan_request is None or request.problems:
        return None, fleet, timing
    return request.attempt(lambda: make_plan(plan_request)), fleet, timing


def _batch_tokens(request: Request, model: ModelConfig, timing: Timing | None) -> int:
    """Tokens of a step: asked for, the bench's, the preset's even where its sizes were changed, or usual ones."""
    ramp: Ramp | None = request.get("batch_ramp")
    if ramp:
        return max(size for _, size in ramp.steps)  # the grid of totals
    preset = PRESETS[request.values["model"]] if "model" in request.values else model
    usual: int = timing.batch_tokens if timing else tokens_per_step(preset, request.get("context", model.context))
    return int(request.get("batch_tokens", usual))


def _clock(ledger: Ledger, fleet: Fleet | None, timing: Timing | None) -> Clock | None:
    """How seconds are told; utilisation is of FLOPs that count attention densely, however the plan counts it."""
    if timing:

        def benched(phase: Phase, trained: TrainedParts) -> float:
            return phase.tokens * timing.seconds_per_token(trained)

        return benched
    if fleet is None:
        return None
    price = lru_cache(maxsize=4096)(replace(ledger, causal_exact=False).flops_per_token)

    def at_utilisation(phase: Phase, trained: TrainedParts) -> float:
        return fleet.seconds(phase.tokens * price(trained, phase.context))

    return at_utilisation


def _check_together(request: Request) -> None:
    """Problems of options that do not go together."""
    given = request.values
    units = [f"--{unit.replace('_', '-')}" for unit in BUDGETS if unit in given]
    if len(units) > 1:
        request.problems.append(f"{' and '.join(units)} all set the budget: give one of them")
    if "bench" in given:
        for key in ("device", "mfu", "activation_checkpointing"):
            if key in given:
                request.problems.append(f"--{key.replace('_', '-')} and --bench exclude each other: give one")
        for key in ("batch_ramp", "context_ramp"):
            if key in given:
                flag = key.replace("_", "-")
                request.problems.append(
                    f"--{flag} and --bench: its figures are of one batch and context; use --device"
                )
        if given.get("count", 1) > 1:
            request.problems.append("--count and --bench: its figures are of one device; use --device and --mfu")
    elif "device" not in given and not any(problem.startswith("--device") for problem in request.problems):
        request.problems += [
            f"--{key.replace('_', '-')} needs a --device: use {', '.join(DEVICES)} or cpu"
            for key in ("mfu", "price_per_hour", "hours")
            if key in given
        ]
    if given.get("device") in DEVICES and given.get("precision") == "fp32":
        request.problems.append(
            "--precision fp32 and --device: the table's peaks are of bf16; leave one out, or use --bench"
        )
    if "shard" in given and given.get("count", 1) < 2:
        request.problems.append("--shard needs devices to share among: give --count of at least 2")
    if "ratio" in given and request.name in RECIPES and RECIPES[request.name].closed_form is None:
        request.problems.append(f"--ratio is of the paper's formula for two-phase: {request.name} has none")
    for name, ramp in (("batch", "batch_tokens"), ("context", "context")):
        if f"{name}_ramp" in given and ramp in given:
            flag = ramp.replace("_", "-")
            request.problems.append(f"--{name}-ramp and --{flag} both set the {name}: give one of them")


def _timing(request: Request, model: ModelConfig) -> Timing | None:
    """The bench figures a request names, if they are of this model and context."""
    path = request.get("bench")
    timing: Timing | None = request.attempt(lambda: read_timing(path)) if path else None
    if timing:
        context, batch = request.get("context", model.context), request.get("batch_tokens", timing.batch_tokens)
        request.attempt(lambda: timing.check(model, context, batch))
        if request.get("precision", timing.precision) != timing.precision:
            request.problems.append(
                f"--precision and --bench: its figures are of {timing.precision}; leave one out"
            )
    return timing


def _fleet(request: Request, precision: str) -> Fleet | None:
    """The devices a request names; the CPU's peak is measured on the spot."""
    name = request.get("device")
    if name is None:
        return None
    if name == "cpu":
        from deepen.train.device import measured_cpu  # torch, for the one device that is not in the table

        device: Device = measured_cpu(precision)
    else:
        device = DEVICES[name]
    return Fleet(
        device=device,
        count=request.get("count", 1),
        utilisation=request.get("mfu", DEFAULT_UTILISATION),
    )
