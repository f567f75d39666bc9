"""Studies by name."""

from collections.abc import Callable
from dataclasses import replace

from deepen.model.config import PRESETS, ModelConfig
from deepen.schedule.lr import RATES, WSD, Rate
from deepen.schedule.recipes import TWO_PHASE_PRESETS
from deepen.study.arms import Arm, Evaluation, Study
from deepen.train.settings import TrainSettings

PAPER_STAGES = (4, 8, 12)

TOKENS_PER_STEP = {
    "nano": 1024,
    "micro": 4096,
    "mini": 16384,
    "gpt2-124m": 524_288,
    "gpt2-350m": 524_288,
    "nano-llama": 1024,
    "llama-160m": 524_288,
    "llama-1b": 1_048_576,
    "llama-7b": 4_194_304,
    "llama-70b": 4_194_304,
}
PEAK_RATES = {
    "nano": 1.6e-2,
    "micro": 6e-3,
    "mini": 3e-3,
    "gpt2-124m": 6e-4,
    "gpt2-350m": 3e-4,
    "nano-llama": 1.6e-2,
    "llama-160m": 6e-4,
    "llama-1b": 4e-4,
    "llama-7b": 3e-4,
    "llama-70b": 1.5e-4,
}
"""Starting points where --lr is left out: the nanos' are the best of those tried for the baseline
(docs/log.md), llama-7b's and -70b's are Llama 2's own (Touvron et al. 2023, arXiv 2307.09288, section 2.2)."""


def tokens_per_step(model: ModelConfig, context: int) -> int:
    """Tokens of a step where none are asked for: the preset's, or what models of the size take."""
    by_size = ((10**7, 16_384), (10**9, 524_288), (3 * 10**9, 1_048_576))
    usual = next((tokens for most, tokens in by_size if model.parameters < most), 4_194_304)
    return max(1, TOKENS_PER_STEP.get(model.name, usual) // context) * context


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
            hellaswag_every_tokens=every,
        ),
        lr=lr,
        settings=settings,
    )


STUDIES: dict[str, Callable[..., Study]] = {"quickstart": quickstart, "paper": paper}
