"""Hypothesis strategies for runs: any model, schedule and settings, as small as they can be.

Half of the schedules come from a recipe with random options, half are phases of their own. To have an option of a
new recipe drawn, add its values to `_draw_option`.
"""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from deepen.compute.ledger import Ledger
from deepen.compute.marks import RecipeRun, compute_position
from deepen.errors import InvalidValueError
from deepen.growth.layout import PLACEMENTS, describe_layout
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.growth.spec import REWARMED, Growth
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.model.parametrization import PARAMETRIZATIONS
from deepen.schedule.phase import Phase
from deepen.schedule.ramp import Ramp, apply_ramps
from deepen.schedule.rate import DECAY_UNITS, WSD, Constant, Cosine, Rate
from deepen.schedule.rate_piece import SHAPES
from deepen.schedule.recipes import RECIPES
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable
from deepen.study.compile.pieces import split_schedule
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from llama_options import any_options

CONTEXT, BATCH_TOKENS, VOCAB = 8, 16, 11
"""The longest sequence and the usual batch of a run in tokens, and the vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A schedule in whole steps, and what else determines the training."""

    model: ModelConfig
    schedule: Schedule
    settings: TrainSettings

    @property
    def ledger(self) -> Ledger:
        return make_ledger(self.model, self.settings)

    @property
    def segments(self) -> list[Segment]:
        return split_schedule(self.schedule, self.ledger)


def make_ledger(model: ModelConfig, settings: TrainSettings) -> Ledger:
    return Ledger(
        model=model,
        activation_checkpointing=settings.activation_checkpointing,
        optimizer=settings.optimizer.cost,
    )


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Any run of 1 to about 30 steps."""
    model, settings = draw(models()), draw(train_settings())
    try:
        kind = draw(st.sampled_from((recipe_schedules, phase_schedules)))
        run = Run(model=model, settings=settings, schedule=draw(kind(model, make_ledger(model, settings))))
        _ = run.segments  # a rate may not fit the schedule
    except InvalidValueError:
        reject()
    return run


@st.composite
def models(draw: st.DrawFn) -> ModelConfig:
    """A model of any family, with any of its options, in any parametrization."""
    family = draw(st.sampled_from(sorted(FAMILIES)))
    return ModelConfig(
        name="drawn",
        family=family,
        depth=draw(st.sampled_from(range(1, 7))),
        width=8,
        heads=2,
        kv_heads=1 if FAMILIES[family].groups_heads and draw(st.booleans()) else 2,
        context=CONTEXT,
        vocab=VOCAB,
        tied=draw(st.booleans()),
        init_std=0.2,
        parametrization=draw(st.sampled_from(sorted(PARAMETRIZATIONS))),
        **draw(any_options(family, (2, 6))),
    )


@st.composite
def train_settings(draw: st.DrawFn) -> TrainSettings:
    """Any optimizer, stored or recomputed activations, whole batches or micro-batches."""
    optimizer = draw(
        st.sampled_from((
            OptimizerSpec.adamw(), OptimizerSpec.adamw(state_precision="bf16"), OptimizerSpec.muon(),
        ))
    )  # fmt: skip
    return TrainSettings(
        optimizer=optimizer,
        activation_checkpointing=draw(st.booleans()),
        micro_batch_tokens=draw(st.sampled_from((0, CONTEXT))),
    )


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    """A learning rate of any shape."""
    warmup: dict[str, Any] = draw(
        st.sampled_from(({}, {"warmup_tokens": 3 * BATCH_TOKENS}, {"warmup_share": 0.2}))
    )
    kind = draw(st.sampled_from((WSD, Cosine, Constant)))
    if kind is WSD:
        warmup |= {
            "decay_share": draw(st.sampled_from((0.2, 0.5))),
            "decay_shape": draw(st.sampled_from(sorted(SHAPES))),
            "decay_in": draw(st.sampled_from(DECAY_UNITS)),
        }
    return kind(peak=1e-2, **warmup)


@st.composite
def growths(draw: st.DrawFn, old: int, new: int) -> Growth:
    """Any growth from `old` to `new` blocks."""
    moments = draw(st.sampled_from(sorted(MOMENT_POLICIES)))
    rewarm: dict[str, Any] = {}
    if draw(st.booleans()):
        rewarm = {"rewarm_tokens": 2 * BATCH_TOKENS, "rewarm": draw(st.sampled_from(sorted(REWARMED)))}
    kinds = [*OPERATORS, *_LAYOUTS] if old else [name for name, each in OPERATORS.items() if not each.copies]
    kind = draw(st.sampled_from(kinds))
    if kind in _LAYOUTS:
        operator, where = OPERATORS[_LAYOUTS[kind]], {"layout": draw(layouts(old, new))}
        is_scaled = not operator.zero_output
    else:
        operator, where = OPERATORS[kind], {"placement": draw(st.sampled_from(("", *PLACEMENTS)))}
        is_scaled = operator.copies and not operator.zero_output
    options = draw(copy_options()) if is_scaled else {}
    return Growth(operator=operator.name, moments=moments, **where, **options, **rewarm)


_LAYOUTS = {"layout": "random", "layout, copies with zero outputs": "copy-zero"}
"""Growths by a layout, and their operators."""


@st.composite
def layouts(draw: st.DrawFn, old: int, new: int) -> tuple[int, ...]:
    """Which old block each block of the grown model is from; some may be left out."""
    return tuple(draw(st.lists(st.integers(0, old - 1), min_size=new, max_size=new)))


@st.composite
def copy_options(draw: st.DrawFn) -> dict[str, float]:
    """What can be done to copies."""
    return draw(st.sampled_from(({}, {"residual_scale": 0.5}, {"noise": 0.1})))


@st.composite
def trainable_sets(draw: st.DrawFn, blocks: int) -> Trainable:
    """Any trainable set of a model of so many blocks."""
    if draw(st.booleans()):
        return draw(st.sampled_from(list(TRAINABLE_SETS.values())))
    chosen = draw(st.sets(st.integers(0, blocks - 1))) if blocks else set()
    embeddings, norms = draw(st.booleans()), draw(st.booleans())
    head = draw(st.booleans()) or not (chosen or embeddings or norms)
    return Trainable.explicit(chosen, head=head, embeddings=embeddings, norms=norms)


@st.composite
def phase_schedules(draw: st.DrawFn, model: ModelConfig, ledger: Ledger) -> Schedule:
    """Up to four phases: any depths, growths, trainable sets, shared layers, batches and contexts."""
    number = draw(st.sampled_from(range(1, 5)))
    depths = sorted(draw(st.sampled_from(range(model.depth + 1))) for _ in range(number))
    phases: list[Phase] = []
    for number, blocks in enumerate(depths):
        before = phases[-1].blocks if phases else blocks
        layers: tuple[int, ...] = ()
        if blocks and draw(st.integers(0, 3)) == 0:
            layers = (*range(blocks), *draw(st.lists(st.integers(0, blocks - 1), min_size=1, max_size=2)))
        phases.append(
            Phase(
                depth=len(layers) if layers else blocks,
                layers=layers,
                tokens=draw(st.sampled_from(range(2, 8))) * BATCH_TOKENS,
                label=f"phase {number}",
                train=draw(trainable_sets(blocks)),
                batch_tokens=draw(st.sampled_from((0, 8, 24))),
                context=draw(st.sampled_from((0, 0, 2, 4))),
                growth=draw(growths(before, blocks)) if blocks > before else None,
                reset_moments=draw(st.booleans()),
            )
        )
    schedule = _ramped(draw, Schedule(phases=tuple(phases))).in_steps(BATCH_TOKENS, CONTEXT)
    rate = draw(rates()).in_tokens(schedule.tokens, lambda share: compute_position(ledger, schedule, share))
    return replace(schedule, rate=rate)


@st.composite
def recipe_schedules(draw: st.DrawFn, model: ModelConfig, ledger: Ledger) -> Schedule:
    """Any recipe with any options, in 4 to 20 steps."""
    recipe = draw(st.sampled_from(list(RECIPES.values())))
    options = {}
    for name in recipe.options:
        is_drawn = draw(st.booleans()) or name == "stages"  # whose default may be more than there are blocks
        if is_drawn and (value := _draw_option(draw, name, model)) is not None:
            options[name] = value
    for name, excluded in _EXCLUDED.items():
        if name in options:
            options = {other: value for other, value in options.items() if other not in excluded}
    if "rewarm" in options:
        options["rewarm_tokens"] = 2 * BATCH_TOKENS
    steps = draw(st.sampled_from(range(6, 20)))
    run = RecipeRun(
        recipe=recipe,
        model=model,
        batch_tokens=BATCH_TOKENS,
        context=CONTEXT,
        options=options,
        baseline_tokens=draw(st.sampled_from((None, steps * BATCH_TOKENS // 2))),
        batch_ramp=draw(batch_ramps()),
        context_ramp=draw(context_ramps()),
        rate=draw(rates()),
        ledger=ledger,
    )
    return run.schedule(steps)


_EXCLUDED = {
    "layout": ("operator", "placement"),
    "operator": ("residual_scale", "noise"),
    "depths": ("stages", "partition", "grow_at"),
    "stages": ("grow_at",),
    "new_blocks": ("grow_at",),
}
"""Options that are left out where another is drawn, because only some of their values fit."""


def _draw_option(draw: st.DrawFn, name: str, model: ModelConfig) -> Any:
    """A value of a recipe's option; None if the option is left out."""
    half = max(1, model.depth // 2)
    values: dict[str, st.SearchStrategy[Any]] = {
        "start_depth": st.integers(0, model.depth - 1),
        "depths": st.sets(st.integers(1, model.depth)).map(lambda depths: sorted(depths | {model.depth})),
        "grow_at": st.sampled_from((0.3, 0.5, 0.8)),
        "untie_at": st.sampled_from((0.3, 0.5, 0.8)),
        "unfrozen_at": st.sampled_from((0.3, 0.5, 0.8)),
        "operator": st.sampled_from(sorted(OPERATORS)),
        "placement": st.sampled_from(sorted(PLACEMENTS)),
        "layout": layouts(half, model.depth).map(describe_layout),
        "moments": st.sampled_from(sorted(MOMENT_POLICIES)),
        "scope": trainable_sets(half).map(str),
        "train": trainable_sets(model.depth).map(str),
        "stages": st.integers(1, model.depth),
        "partition": st.sampled_from(("spread", "front", "back", "even")),
        "alpha": st.sampled_from((0.0, 1.0, 2.0)),
        "growth_factor": st.integers(2, max(2, model.depth)),
        "new_blocks": st.integers(1, model.depth),
        "variant": st.sampled_from(("midas", "lidas")),
        "loops": st.integers(2, 3),
        "looped_blocks": st.integers(1, half),
        "round_down": st.booleans(),
        "reset_at_continual": st.booleans(),
        "residual_scale": st.just(0.5),
        "noise": st.just(0.1),
        "rewarm_tokens": st.just(2 * BATCH_TOKENS),
        "rewarm": st.sampled_from(sorted(REWARMED)),
    }
    return draw(values[name]) if name in values else None


def batch_ramps() -> st.SearchStrategy[Ramp | None]:
    return st.sampled_from((None, None, Ramp(steps=((0.0, 8), (0.4, 16), (0.7, 32)))))


def context_ramps() -> st.SearchStrategy[Ramp | None]:
    return st.sampled_from((None, None, Ramp(steps=((0.0, 4), (0.5, 8)))))


def _ramped(draw: st.DrawFn, schedule: Schedule) -> Schedule:
    return apply_ramps(
        schedule, batch=draw(batch_ramps()), context=draw(context_ramps()), batch_tokens=BATCH_TOKENS
    )
