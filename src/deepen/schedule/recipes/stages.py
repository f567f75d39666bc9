"""Recipes that train in stages, each of which adds blocks, and then continue at full depth.

They take `staged_tokens`, the tokens of the staged part (the paper's T_inc), in addition to the total; the
continual phase gets the rest. With two stages and a model of four blocks, `two-phase` makes five phases:

    label               part       depth  trained         tokens
    stage 1 · phase 1   STAGED     2      everything      staged_tokens / 4
    stage 1 · phase 2   STAGED     2      everything      staged_tokens / 4
    stage 2 · phase 1   STAGED     4      the new blocks  staged_tokens / 4
    stage 2 · phase 2   STAGED     4      everything      staged_tokens / 4
    continual           CONTINUAL  4      everything      tokens - staged_tokens

The released code rounds every phase down to whole steps, as the option `round_down` does. So 10,000 steps in 12
stages are 24 phases of 416 steps, 9,984 in all, and the continual phase gets the 16 steps that are left.
"""

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any, Unpack

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.partition import partition as divide_blocks
from deepen.schedule.phase import Part, Phase
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import (
    GrowthOptions,
    MomentPolicyName,
    OperatorName,
    PlacementName,
    TrainableName,
)
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable, parse_trainable

DEFAULT_STAGES = 4

_AS_RELEASED = {"partition": "floor", "round_down": True, "reset_at_continual": True}

TWO_PHASE_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper-as-written": {"partition": "spread", "scope": Trainable.NEW_BLOCKS.name},
    "paper-as-released": {**_AS_RELEASED, "scope": Trainable.NEW_BLOCKS_EMBEDDINGS.name},
}
"""The text and the released code of Li, Fung & Huang differ; each is a preset of `two-phase`."""

STAGED_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper-as-written": {"partition": "spread"},
    "paper-as-released": _AS_RELEASED,
}
"""The same presets of `staged`, which is the released code with its flag that freezes nothing."""


def staged_share(stages: int, ratio: float = 1.0) -> Fraction:
    """Compute of the staged part of `two-phase` ÷ full training on as many tokens, by the paper's prices.

    The paper counts 1 per layer and token for a forward pass and `ratio` for a backward pass. The head and the
    attention core are free, and layers below the trained ones cost their forward pass only. A phase has T/(2S)
    tokens. In units of L/S layers, phase 1 of stage s costs s forward and `ratio` backward, phase 2 costs
    s·(1 + ratio). The sum over all S stages, with ratio 1, is (3S + 5) / (8S).

    Source: Li, Fung & Huang 2024, arXiv 2411.18700, sections IV-C and V-C.
    """
    if stages < 1:
        raise InvalidValueError(f"is {stages}", field="stages", value=stages, remedy="it must be at least 1")
    r = Fraction(ratio)
    return ((2 + r) * Fraction(stages + 1, 2) + r) / (2 * stages * (1 + r))


def _closed_form(options: Mapping[str, Any], ratio: float = 1.0) -> Fraction:
    return staged_share(options.get("stages", DEFAULT_STAGES), ratio)


@recipe("two-phase", presets=TWO_PHASE_PRESETS, closed_form=_closed_form)
def two_phase(
    model: ModelConfig,
    tokens: int,
    *,
    staged_tokens: int,
    stages: int = DEFAULT_STAGES,
    partition: str = "spread",
    scope: TrainableName = Trainable.NEW_BLOCKS.name,
    operator: OperatorName = "random",
    placement: PlacementName = "",
    moments: MomentPolicyName = "keep",
    round_down: bool = False,
    reset_at_continual: bool = False,
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """Stages of two phases: the new blocks with the rest frozen, then all so far; then continual training.

    Args:
        tokens: total training tokens, continual phase included.
        staged_tokens: tokens of the staged part, T_inc; each phase gets staged_tokens / (2·stages).
        stages: number of stages S.
        partition: how the blocks are divided over the stages: spread, front, back, even, floor, or sizes such as
            6,3,3.
        scope: what is trained in the first phase of a stage: a name, or parts such as blocks:8-11,head.
        operator: how new blocks get their weights.
        placement: where new blocks go; the operator's own placement where left out.
        moments: what happens to the optimizer's moments at growth.
        round_down: round every phase of the staged part down to whole steps, as the released code does; the
            continual phase gets the rest.
        reset_at_continual: empty the optimizer's moments at the continual phase, as the released code does.

    Source: Li, Fung & Huang 2024, arXiv 2411.18700, sections III and IV.
    """
    trained_first = parse_trainable(scope)
    sizes = divide_blocks(model.depth, stages, partition)
    lengths = _phase_lengths(tokens, staged_tokens, stages, phases=2 * stages, round_down=round_down)
    phases, depth = [], 0
    for stage, size in enumerate(sizes):
        depth += size
        for half, train in enumerate((trained_first if stage else Trainable.ALL, Trainable.ALL)):
            phases.append(
                Phase(
                    depth=depth,
                    tokens=lengths[2 * stage + half],
                    train=train,
                    part=Part.STAGED,
                    label=f"stage {stage + 1} · phase {half + 1}",
                    round_down=round_down,
                )
            )
    phases.append(_continual_phase(phases, tokens, reset_moments=reset_at_continual))
    return Schedule(
        phases=tuple(phases), growth=Growth(operator=operator, placement=placement, moments=moments, **growth)
    )


@recipe("staged", is_control=True, presets=STAGED_PRESETS)
def staged(
    model: ModelConfig,
    tokens: int,
    *,
    staged_tokens: int,
    stages: int = DEFAULT_STAGES,
    partition: str = "spread",
    operator: OperatorName = "random",
    placement: PlacementName = "",
    moments: MomentPolicyName = "keep",
    round_down: bool = False,
    reset_at_continual: bool = False,
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """The stages of `two-phase` with nothing frozen: the control that separates growing from freezing.

    Args:
        tokens: total training tokens, continual phase included.
        staged_tokens: tokens of the staged part; each stage gets staged_tokens / stages.
        stages: number of stages S.
        partition: how the blocks are divided over the stages: spread, front, back, even, floor, or sizes such as
            6,3,3.
        operator: how new blocks get their weights.
        placement: where new blocks go; the operator's own placement where left out.
        moments: what happens to the optimizer's moments at growth.
        round_down: round every stage down to whole steps, as the released code does; the continual phase gets the
            rest.
        reset_at_continual: empty the optimizer's moments at the continual phase, as the released code does.

    Source: Li, Fung & Huang 2024, arXiv 2411.18700, released code (its flag that switches freezing off).
    """
    sizes = divide_blocks(model.depth, stages, partition)
    lengths = _phase_lengths(tokens, staged_tokens, stages, phases=stages, round_down=round_down)
    phases = [
        Phase(
            depth=sum(sizes[: stage + 1]),
            tokens=length,
            part=Part.STAGED,
            label=f"stage {stage + 1}",
            round_down=round_down,
        )
        for stage, length in enumerate(lengths)
    ]
    phases.append(_continual_phase(phases, tokens, reset_moments=reset_at_continual))
    return Schedule(
        phases=tuple(phases), growth=Growth(operator=operator, placement=placement, moments=moments, **growth)
    )


def _phase_lengths(tokens: int, staged_tokens: int, stages: int, *, phases: int, round_down: bool) -> list[int]:
    """The tokens of each phase of the staged part.

    With one stage the staged part is full training. So a run shorter than it just ends earlier.
    """
    if round_down:
        bounds = [staged_tokens // phases * phase for phase in range(phases + 1)]
    else:
        bounds = [round(staged_tokens * phase / phases) for phase in range(phases + 1)]
    if stages == 1:
        bounds = [min(bound, tokens) for bound in bounds]
    return [end - begin for begin, end in pairwise(bounds)]


def _continual_phase(staged_phases: list[Phase], tokens: int, *, reset_moments: bool = False) -> Phase:
    """The phase after the staged part, which trains everything on the rest of the tokens."""
    staged_tokens = sum(phase.tokens for phase in staged_phases)
    if tokens < staged_tokens:
        raise InvalidValueError(
            f"is {tokens:,}, but the staged part alone trains {staged_tokens:,}",
            field="tokens",
            value=tokens,
            remedy="give more",
        )
    return Phase(
        depth=staged_phases[-1].depth,
        tokens=tokens - staged_tokens,
        part=Part.CONTINUAL,
        label="continual",
        reset_moments=reset_moments,
    )
