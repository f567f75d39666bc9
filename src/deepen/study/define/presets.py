"""Named studies: `quickstart` takes minutes on two cores, `paper` is the experiment of Li, Fung & Huang 2024.

The third is `fair`, in a module of its own, with its presets in `fair_presets.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from deepen.errors import InvalidValueError, join_or
from deepen.model.presets import PEAK_RATES, PRESETS, TOKENS_PER_STEP, pad_vocab
from deepen.schedule.rate import RATES, WSD, Rate
from deepen.schedule.recipes.stages import STAGED_PRESETS, TWO_PHASE_PRESETS
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.fair import fair
from deepen.study.define.study import Arm, Study
from deepen.train.settings import TrainSettings

PAPER_STAGES = (4, 8, 12)

WARMUP_SHARE = 0.02
"""Warm-up of the default rates, as a share of the baseline's tokens."""

DEFAULT_PRESET = "paper-as-written"

_PAPER_STEPS, _PAPER_BATCH, _PAPER_PEAK = 10_000, 524_288, 6e-4
_PAPER_CURVE_POINTS = 40  # every 250 steps
_PAPER_VALIDATION_TOKENS = 20 * _PAPER_BATCH


def _staged_arm(name: str, stages: int, preset: str = "paper-as-released") -> Arm:
    return Arm(name=name, recipe="staged", options={"stages": stages, **STAGED_PRESETS[preset]})


@dataclass(frozen=True, kw_only=True, slots=True)
class _PaperPreset:
    """What belongs to a preset of the staged recipes, in addition to their options.

    Attributes:
        rate, warmup_share, max_grad_norm, precision, compile: how every arm is trained.
        baseline: the baseline of the study `paper`.
        controls: arms of the study `paper` beside the baseline and the paper's three.
        continual_shares: see `Study`.
    """

    rate: str
    warmup_share: float
    max_grad_norm: float | None
    precision: str
    compile: str
    baseline: Arm
    controls: tuple[Arm, ...] = ()
    continual_shares: tuple[float, ...] = ()


_PAPER_PRESETS: Mapping[str, _PaperPreset] = {
    # The paper names no schedule, and the loss of an undecayed run is not a result. So the rate is WSD, with the
    # warm-up of public GPT-2 recipes (715 of 10,000 steps).
    "paper-as-written": _PaperPreset(
        rate="wsd",
        warmup_share=715 / 10_000,
        max_grad_norm=1.0,
        precision="bf16",
        compile="auto",
        baseline=Arm(name="full", recipe="full"),
    ),
    # The released code has one loop for all its runs: stages, an optimizer built anew, as many steps again. Its
    # baseline is one stage; a flag freezes nothing.
    "paper-as-released": _PaperPreset(
        rate="constant",
        warmup_share=0.0,
        max_grad_norm=None,
        precision="fp32",
        compile="no",
        baseline=_staged_arm("full", stages=1),
        controls=(_staged_arm("staged S=4", stages=4),),
        continual_shares=(1.0,),
    ),
}

PAPER_PRESETS = tuple(_PAPER_PRESETS)
"""The presets of the study `paper`, and of the staged recipes."""


def preset_training(preset: str, tokens: int, rate: str = "") -> tuple[Rate, TrainSettings]:
    """The learning rate and the clipping that go with a preset of the staged recipes.

    Args:
        preset: a preset of `two-phase` and `staged`.
        tokens: tokens of the baseline.
        rate: a name in `RATES`; empty for the preset's rate.
    """
    training = _PAPER_PRESETS[preset]
    warmup_tokens = round(training.warmup_share * tokens)
    learning_rate = RATES[rate or training.rate](peak=_PAPER_PEAK, warmup_tokens=warmup_tokens)
    return learning_rate, TrainSettings(max_grad_norm=training.max_grad_norm)


def two_phase_arms(stages: Sequence[int] = PAPER_STAGES, preset: str = DEFAULT_PRESET) -> tuple[Arm, ...]:
    """The paper's arms: `two-phase` in several numbers of stages."""
    return tuple(
        Arm(
            name=f"two-phase S={count}",
            recipe="two-phase",
            options={"stages": count, **TWO_PHASE_PRESETS[preset]},
        )
        for count in stages
    )


QUICKSTART_STAGES = (2, 4)
"""The paper's 4, 8 and 12 stages over twelve blocks are at most one for each block; these are so over four."""

_QUICKSTART_TOKENS_PER_PARAMETER = 40


def quickstart() -> Study:
    """The paper's comparison, two recipes that grow once, and two controls; takes minutes on two CPU cores.

    Model and tokens are such that full training beats the shallow control (docs/log.md): otherwise an arm that
    grows could win by being shallow for a while.
    """
    model, batch_tokens = PRESETS["pico"], TOKENS_PER_STEP["pico"]
    steps = round(_QUICKSTART_TOKENS_PER_PARAMETER * model.parameters_non_embedding / batch_tokens)
    tokens = steps * batch_tokens
    return Study(
        name="quickstart",
        model=model,
        tokens=tokens,
        batch_tokens=batch_tokens,
        context=model.context,
        arms=(
            Arm(name="full", recipe="full"),
            *two_phase_arms(QUICKSTART_STAGES),
            Arm(name="staged S=4", recipe="staged", options={"stages": 4}),
            Arm(name="one-shot", recipe="one-shot", options={"operator": "random"}),
            Arm(name="stack", recipe="stack", options={"growth_factor": 2}),
            Arm(name="small", recipe="small"),
        ),
        evaluation=Evaluation(every_tokens=steps // 10 * batch_tokens, validation_tokens=32_768),
        seeds=(0, 1, 2),
        rate=WSD(peak=PEAK_RATES["pico"], warmup_tokens=round(tokens * WARMUP_SHARE)),
    )


def paper(*, preset: str = DEFAULT_PRESET, rate: str = "", scale: float = 1.0) -> Study:
    """The experiment of Li, Fung & Huang 2024 (arXiv 2411.18700): GPT-2 124M, 10,000 steps of 524,288 tokens.

    Args:
        preset: `paper-as-written` or `paper-as-released`; sets baseline, controls, options of the recipes, rate,
            clipping, precision, and how far the arms continue.
        rate: `constant`, `cosine` or `wsd`; empty for the preset's rate.
        scale: share of the tokens. The batch and the number of steps both shrink by its square root; the batch
            is at least one context.

    Raises:
        InvalidValueError: a preset that there is not.
    """
    if preset not in _PAPER_PRESETS:
        raise InvalidValueError(
            f"is {preset!r}: `paper` has {join_or(PAPER_PRESETS)}",
            field="preset",
            value=preset,
            allowed=PAPER_PRESETS,
        )
    model = PRESETS["gpt2-124m"]
    model = replace(model, vocab=pad_vocab(model.vocab))
    batch_tokens = max(1, round(_PAPER_BATCH / model.context * scale**0.5)) * model.context
    steps = max(1, round(_PAPER_STEPS * _PAPER_BATCH * scale / batch_tokens))
    tokens = steps * batch_tokens
    evaluate_every = max(1, round(steps / _PAPER_CURVE_POINTS)) * batch_tokens
    validation_tokens = max(model.context, round(_PAPER_VALIDATION_TOKENS * min(1.0, scale * 10)))
    learning_rate, settings = preset_training(preset, tokens, rate)
    chosen = _PAPER_PRESETS[preset]
    return Study(
        name="paper",
        model=model,
        tokens=tokens,
        batch_tokens=batch_tokens,
        context=model.context,
        arms=(chosen.baseline, *two_phase_arms(preset=preset), *chosen.controls),
        evaluation=Evaluation(
            every_tokens=evaluate_every,
            validation_tokens=validation_tokens,
            tasks_every_tokens=evaluate_every,
        ),
        continual_shares=chosen.continual_shares,
        rate=learning_rate,
        settings=replace(
            settings,
            precision=chosen.precision,
            compile=chosen.compile,
            micro_batch_tokens=min(batch_tokens, 32 * model.context),
        ),
    )


STUDIES: Mapping[str, Callable[..., Study]] = {"quickstart": quickstart, "paper": paper, "fair": fair}
"""Every study by its name."""
