"""`deepen train RECIPE`: one arm, in the same kind of store as a study."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepen.cli.requests.options import Option, Request, read_request, text_of, whole
from deepen.cli.requests.shared import (
    BUDGET_OPTIONS,
    MODEL_OPTION,
    OUT_OPTION,
    RATE_OPTIONS,
    RECIPE_OPTIONS,
    RUNS,
    SHARD_OPTION,
    SPIKE_OPTION,
    STEP_OPTIONS,
    STORE_OPTIONS,
    arm_of,
    check_shard,
    model_of,
    settings_of,
    tokens_of,
)
from deepen.model.config import ModelConfig
from deepen.model.presets import PEAK_RATES, tokens_per_step
from deepen.schedule.rate import RATES, Rate
from deepen.schedule.recipes import RECIPES
from deepen.study.define.executor import local
from deepen.study.define.presets import WARMUP_SHARE, preset_training
from deepen.study.define.study import Evaluation, Study
from deepen.train.settings import TrainSettings

if TYPE_CHECKING:
    from deepen.train.distributed.processes import World

OPTIONS = (
    MODEL_OPTION,
    *BUDGET_OPTIONS,
    Option(name="seed", read=whole(0), help="of initialisation and data order (default 0)"),
    Option(name="data", read=text_of, help="folder of token shards; sotu, the default, is the embedded corpus"),
    *RATE_OPTIONS,
    *STEP_OPTIONS,
    SPIKE_OPTION,
    Option(name="activation-checkpointing", read=None, help="blocks store their input alone and run twice"),
    OUT_OPTION,
    SHARD_OPTION,
    *STORE_OPTIONS,
    *RECIPE_OPTIONS,
    Option(name="json", read=None, help="print the arm's marks as JSON"),
)


def run(argv: Sequence[str], world: "World | None" = None) -> int:
    """Run the command."""
    request = read_request("train", argv, OPTIONS, what="RECIPE", about="Train one arm.", known=RECIPES)
    model = model_of(request, "nano")
    arm = arm_of(request, model)
    context = request.get("context", model.context)
    batch_tokens = request.get("batch_tokens", tokens_per_step(model, context))
    tokens = tokens_of(request, batch_tokens, default=20 * model.parameters_non_embedding)
    every = max(1, tokens // batch_tokens // 20) * batch_tokens
    lr, settings = _rate_and_settings(request, model, tokens)
    study = request.attempt(
        lambda: Study(
            name=f"train {arm.name}",
            model=model,
            tokens=tokens,
            batch_tokens=batch_tokens,
            context=context,
            arms=(arm,),
            evaluation=Evaluation(every_tokens=every, validation_tokens=32_768),
            seeds=(request.get("seed", 0),),
            anchors=(1.0,),
            accountings=("flops",),
            rate=lr,
            settings=settings_of(request, settings),
            baseline=arm.name,
            data=request.get("data", "sotu"),
        )
    )
    check_shard(request, world)
    request.check()
    from deepen.cli.running import run_study  # torch takes seconds to import: only for a request that is right

    options = "".join(f"-{key.replace('_', '-')}-{value}" for key, value in arm.options.items())
    out = request.get("out", Path(RUNS) / f"{arm.name}{options}-{model.name}-seed-{study.seeds[0]}")
    keep, verify = request.get("keep", "last"), request.get("verify", False)
    results = run_study(
        study, out, local(1), keep=keep, verify=verify, shard=request.get("shard", False), world=world
    )
    result = results.arms[0]
    mark = result.marks[0]
    if request.get("json"):
        print(json.dumps([mark.to_json() for mark in result.marks], indent=1))
        return 0
    print(
        f"{arm.name}: {mark.step:,} steps, {mark.tokens:,} tokens, {mark.flops:.4g} FLOPs, "
        f"{mark.seconds:.0f} s; training loss {mark.train_loss:.4f}, validation loss {mark.val_loss:.4f}"
    )
    print(f"state: {out / 'segments' / result.segments[-1] / 'state'}")
    print(f"report: {out / 'report' / 'index.html'}")
    return 0


def _rate_and_settings(request: Request, model: ModelConfig, tokens: int) -> tuple[Rate, TrainSettings]:
    """Those of a preset of `two-phase` where one is named, else WSD with a short warm-up."""
    peak, rate = request.get("lr", PEAK_RATES[model.name]), request.get("rate", "")
    if preset := request.get("preset"):
        return preset_training(preset, tokens, rate, peak)
    make = RATES[rate or "wsd"]
    return make(peak=peak, warmup_tokens=round(WARMUP_SHARE * tokens)), TrainSettings()
