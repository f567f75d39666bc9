"""Recipes of the literature: functions from a model and a token budget to a schedule.

Every recipe takes the total training tokens of its run. Those that train in stages first take, beside it,
`staged_tokens`: the tokens of the staged part (the paper's T_inc); what is left of the total is the continual
phase. To add a recipe, write its function here and name it in RECIPES.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from deepen.model.config import ModelConfig
from deepen.schedule.partition import partition as share_out
from deepen.schedule.phase import Growth, Phase, Schedule, Scope

Recipe = Callable[..., Schedule]


def full(model: ModelConfig, tokens: int) -> Schedule:
    """All blocks from the start: the baseline.

    Args:
        tokens: total training tokens.
    """
    return Schedule(phases=(Phase(depth=model.depth, tokens=tokens, label="full depth"),))


def small(model: ModelConfig, tokens: int, *, start_depth: int | None = None) -> Schedule:
    """The shallow model alone for all the compute: the control that tells whether depth was needed at all.

    Args:
        tokens: total training tokens.
        start_depth: blocks; half of the model's where left out.
    """
    depth = model.depth // 2 if start_depth is None else start_depth
    _check_start_depth(model, depth)
    return Schedule(phases=(Phase(depth=depth, tokens=tokens, label="shallow"),))


def one_shot(
    model: ModelConfig,
    tokens: int,
    *,
    start_depth: int | None = None,
    grow_at: float = 0.5,
    operator: str = "interleave",
    placement: str = "",
    moments: str = "copy",
) -> Schedule:
    """Train shallow, then grow once to full depth.

    Args:
        tokens: total training tokens.
        start_depth: blocks before growth, half of the model's where left out; 0 trains embeddings and head
            alone (with operator random or identity: there is nothing to copy).
        grow_at: share of the tokens spent before growth, in (0, 1).
        operator, placement, moments: how the model grows (see `deepen recipes`).

    Source: Bu, "Deep Progressive Training", arXiv 2511.04981, section 4; copying from Du et al., arXiv
    2405.15319, section 3.
    """
    depth = model.depth // 2 if start_depth is None else start_depth
    _check_start_depth(model, depth)
    if not 0 < grow_at < 1:
        raise ValueError(f"grow_at is {grow_at}: it is a share of the tokens and must lie between 0 and 1")
    if depth == 0 and operator not in ("random", "identity"):
        raise ValueError(f"operator {operator!r} copies blocks and start_depth 0 has none: use operator random")
    before = round(tokens * grow_at)
    return Schedule(
        phases=(
            Phase(depth=depth, tokens=before, label="shallow"),
            Phase(depth=model.depth, tokens=tokens - before, label="full depth"),
        ),
        growth=Growth(operator=operator, placement=placement, moments=moments),
    )


def two_phase(
    model: ModelConfig,
    tokens: int,
    *,
    staged_tokens: int,
    stages: int = 4,
    partition: str = "spread",
    scope: str = Scope.NEW_BLOCKS,
    operator: str = "random",
    placement: str = "",
    moments: str = "keep",
    reset_at_continual: bool = False,
) -> Schedule:
    """Stages of two phases: the new blocks with the rest frozen, then all so far; then continual training.

    Args:
        tokens: total training tokens, continual phase included.
        staged_tokens: tokens of the staged part, T_inc; each phase gets staged_tokens / (2·stages).
        stages, partition: number of stages S and how the blocks are shared out over them.
        scope: what is trained in the first phase of a stage.
        operator, placement, moments: how the model grows between stages.
        reset_at_continual: empty the optimizer's moments at the continual phase, as the released code does.

    Source: Li, Fung & Huang 2024, arXiv 2411.18700, sections III and IV.
    """
    trained_first = Scope(scope)
    sizes = share_out(model.depth, stages, partition)
    bounds = [round(staged_tokens * half / (2 * stages)) for half in range(2 * stages + 1)]
    phases, depth = [], 0
    for stage, size in enumerate(sizes):
        depth += size
        for half, train in enumerate((trained_first if stage else Scope.ALL, Scope.ALL)):
            begin, end = bounds[2 * stage + half : 2 * stage + half + 2]
            label = f"stage {stage + 1} · phase {half + 1}"
            phases.append(Phase(depth=depth, tokens=end - begin, train=train, label=label))
    return _with_continual(phases, tokens, Growth(operator=operator, placement=placement, moments=moments),
                           reset_moments=reset_at_continual)  # fmt: skip


def staged(
    model: ModelConfig,
    tokens: int,
    *,
    staged_tokens: int,
    stages: int = 4,
    partition: str = "spread",
    operator: str = "random",
    placement: str = "",
    moments: str = "keep",
) -> Schedule:
    """The stages of `two-phase` with nothing frozen: the control that tells growing from freezing.

    Args:
        tokens: total training tokens, continual phase included.
        staged_tokens: tokens of the staged part; each stage gets staged_tokens / stages.
        stages, partition, operator, placement, moments: as in `two-phase`.

    Source: Li, Fung & Huang 2024, arXiv 2411.18700, released code (its flag that switches freezing off).
    """
    sizes = share_out(model.depth, stages, partition)
    bounds = [round(staged_tokens * stage / stages) for stage in range(stages + 1)]
    phases = [
        Phase(
            depth=sum(sizes[: stage + 1]),
            tokens=bounds[stage + 1] - bounds[stage],
            label=f"stage {stage + 1}",
        )
        for stage in range(stages)
    ]
    return _with_continual(phases, tokens, Growth(operator=operator, placement=placement, moments=moments))


RECIPES: dict[str, Recipe] = {
    "full": full,
    "two-phase": two_phase,
    "staged": staged,
    "one-shot": one_shot,
    "small": small,
}

TWO_PHASE_PRESETS: dict[str, Mapping[str, Any]] = {
    "paper-as-written": {"partition": "spread", "scope": Scope.NEW_BLOCKS},
    "paper-as-released": {
        "partition": "floor",
        "scope": Scope.NEW_BLOCKS_EMBEDDINGS,
        "reset_at_continual": True,
    },
}
"""The text and the released code of Li, Fung & Huang differ; each is a preset of `two-phase`."""


CONTINUAL = "continual"
"""Label of the phase that follows a staged part."""


def has_stages(recipe: str) -> bool:
    """Whether a recipe trains in stages first, for as many tokens as the baseline."""
    return "staged_tokens" in inspect.signature(RECIPES[recipe]).parameters


def is_continual(phase: Phase) -> bool:
    """Whether a phase belongs to the continual training that follows a staged part."""
    return phase.label.startswith(CONTINUAL)


def stages_of(options: Mapping[str, Any]) -> int:
    """The stages of a `two-phase` arm with such options."""
    return int(options.get("stages", options_of("two-phase")["stages"].default))


def options_of(recipe: str) -> dict[str, inspect.Parameter]:
    """The options of a recipe by name, without those that a budget decides."""
    parameters = inspect.signature(RECIPES[recipe]).parameters
    decided = ("model", "tokens", "staged_tokens")
    return {name: parameter for name, parameter in parameters.items() if name not in decided}


def make_schedule(
    recipe: str, model: ModelConfig, tokens: int, baseline_tokens: int, options: Mapping[str, Any]
) -> Schedule:
    """The schedule of a named recipe over `tokens` in all; a staged part lasts as long as the baseline."""
    if recipe not in RECIPES:
        raise ValueError(f"recipe {recipe!r} is unknown: use {', '.join(RECIPES)}")
    if unknown := sorted(set(options) - set(options_of(recipe))):
        raise ValueError(
            f"recipe {recipe} has no option {unknown[0]}: it has {', '.join(options_of(recipe)) or 'none'}"
        )
    function = RECIPES[recipe]
    budget = {"staged_tokens": baseline_tokens} if has_stages(recipe) else {}
    return function(model, tokens, **budget, **options)


def _check_start_depth(model: ModelConfig, depth: int) -> None:
    if not 0 <= depth < model.depth:
        raise ValueError(
            f"start_depth is {depth}: it must be 0 to {model.depth - 1}, below the model's {model.depth}"
        )


def _with_continual(phases: list[Phase], tokens: int, growth: Growth, *, reset_moments: bool = False) -> Schedule:
    staged_tokens = sum(phase.tokens for phase in phases)
    if tokens < staged_tokens:
        raise ValueError(f"tokens is {tokens:,}, but the staged part alone trains {staged_tokens:,}: give more")
    last = Phase(
        depth=phases[-1].depth, tokens=tokens - staged_tokens, label=CONTINUAL, reset_moments=reset_moments
    )
    return Schedule(phases=(*phases, last), growth=growth)
