"""Studies by name."""

from collections.abc import Callable
from dataclasses import replace

from deepen.model.presets import PEAK_RATES, PRESETS, TOKENS_PER_STEP
from deepen.schedule.rate import RATES, WSD, Rate
from deepen.schedule.recipes.stages import TWO_PHASE_PRESETS
from deepen.study.define.study import Arm, Evaluation, Study
from deepen.train.settings import TrainSettings

PAPER_STAGES = (4, 8, 12)

WARMUP_SHARE = 0.02
"""Warm-up of the default rates, as a share of the baseline's tokens."""


def preset_training(preset: str, tokens: int, rate: str = "", peak: float = 6e-4) -> tuple[Rate, TrainSettings]:
    """Rate and optimizer settings that go with a preset of `two-phase`.

    The released code: a constant rate without warm-up, no clipping. The text names no schedule, and an
    undecayed loss is no result: WSD with the warm-up of public GPT-2 recipes (715 of 10,000 steps), clipping
    at 1.
    """
    released = preset == "paper-as-released"
    make = RATES[rate or ("constant" if released else "wsd")]
    settings = TrainSettings(max_grad_norm=None if released else 1.0)
    return make(peak=peak, warmup_tokens=0 if released else round(715 / 10_000 * tokens)), settings


def two_phase_arms(preset: str = "paper-as-written") -> tuple[Arm, ...]:
    """The paper's three arms."""
    return tuple(
        Arm(
            name=f"two-phase S={stages}",
            recipe="two-phase",
            options={"stages": stages, **TWO_PHASE_PRESETS[preset]},
        )
        for stages in PAPER_STAGES
    )


def quickstart() -> Study:
    """The paper's comparison, a recipe that grows once, and two controls, in minutes on two cores."""
    tokens, batch_tokens = 1100 * 1024, TOKENS_PER_STEP["nano"]
    return Study(
        name="quickstart",
        model=PRESETS["nano"],
        tokens=tokens,
        batch_tokens=batch_tokens,
        context=PRESETS["nano"].context,
        arms=(
            Arm(name="full", recipe="full"),
            *two_phase_arms(),
            Arm(name="staged S=4", recipe="staged", options={"stages": 4}),
            Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6, "grow_at": 0.5}),
            Arm(name="small", recipe="small", options={"start_depth": 6}),
        ),
        evaluation=Evaluation(every_tokens=tokens // 10 // batch_tokens * batch_tokens, validation_tokens=32_768),
        seeds=(0, 1),
        lr=WSD(peak=PEAK_RATES["nano"], warmup_tokens=round(tokens * WARMUP_SHARE)),
    )


def paper(*, preset: str = "paper-as-written", rate: str = "", scale: float = 1.0) -> Study:
    """The experiment of Li, Fung & Huang 2024 (arXiv 2411.18700): GPT-2 124M, 10,000 steps of 524,288 tokens.

    Args:
        preset: the paper's text or its released code (`two-phase` options, rate, clipping, precision).
        rate: `constant`, `cosine` or `wsd`; the preset's own where left out.
        scale: fewer tokens, same shape: batch and steps both shrink by its square root, the batch to no
            less than one context.
    """
    model = replace(PRESETS["gpt2-124m"], vocab=50304)
    batch_tokens = max(1, round(524_288 / model.context * scale**0.5)) * model.context
    tokens = max(1, round(10_000 * 524_288 * scale / batch_tokens)) * batch_tokens
    every = max(1, round(tokens / batch_tokens / 40)) * batch_tokens  # 250 of 10,000 steps
    lr, settings = preset_training(preset, tokens, rate)
    released = preset == "paper-as-released"  # it trained in fp32 and did not compile
    settings = replace(
        settings,
        precision="fp32" if released else "bf16",
        compile="no" if released else "auto",
        micro_batch_tokens=min(batch_tokens, 32 * model.context),
    )
    return Study(
        name="paper",
        model=model,
        tokens=tokens,
        batch_tokens=batch_tokens,
        context=model.context,
        arms=(Arm(name="full", recipe="full"), *two_phase_arms(preset)),
        evaluation=Evaluation(
            every_tokens=every,
            validation_tokens=max(model.context, round(10_485_760 * min(1.0, scale * 10))),
            tasks_every_tokens=every,
        ),
        lr=lr,
        settings=settings,
    )


STUDIES: dict[str, Callable[..., Study]] = {"quickstart": quickstart, "paper": paper}
