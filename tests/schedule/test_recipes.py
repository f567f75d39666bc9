from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.plateau import Plateau
from deepen.schedule.recipes import RECIPES, get_recipe
from deepen.schedule.recipes.constant_depth import full, small
from deepen.schedule.recipes.gradual import gradual, middle
from deepen.schedule.recipes.loop_untie import loop_untie
from deepen.schedule.recipes.one_shot import one_shot, stack
from deepen.schedule.recipes.stages import STAGED_PRESETS, TWO_PHASE_PRESETS, staged, two_phase
from deepen.schedule.recipes.unfreeze import unfreeze
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable

MODEL = PRESETS["gpt2-124m"]


@given(st.sampled_from(sorted(RECIPES)), st.integers(2000, 10**10))
def test_every_recipe_spends_exactly_its_tokens(recipe: str, tokens: int):
    schedule = get_recipe(recipe).schedule(MODEL, tokens, baseline_tokens=tokens // 2, options={})
    assert schedule.tokens == tokens
    in_steps = schedule.in_steps(16, 16)
    assert abs(in_steps.tokens - tokens) <= 8
    assert all(phase.tokens % 16 == 0 for phase in in_steps.phases)


def test_the_paper_with_four_stages():
    schedule = two_phase(MODEL, 15_000, staged_tokens=8_000, stages=4)
    assert [phase.depth for phase in schedule.phases] == [3, 3, 6, 6, 9, 9, 12, 12, 12]
    assert [phase.tokens for phase in schedule.phases] == [1000] * 8 + [7000]
    first_phases = [phase.train for phase in schedule.phases[:8:2]]
    assert first_phases == [Trainable.ALL, Trainable.NEW_BLOCKS, Trainable.NEW_BLOCKS, Trainable.NEW_BLOCKS]


def test_an_uneven_partition_ends_with_all_twelve_blocks_and_the_released_code_with_eight():
    written, released = (
        two_phase(MODEL, 20_000, staged_tokens=10_000, stages=8, **TWO_PHASE_PRESETS[preset])
        for preset in ("paper-as-written", "paper-as-released")
    )
    assert written.depth == 12 and released.depth == 8
    assert released.phases[-1].reset_moments and not written.phases[-1].reset_moments
    assert released.phases[2].train is Trainable.NEW_BLOCKS_EMBEDDINGS


@given(st.integers(1, 3000), st.integers(1, 12), st.integers(1, 3000), st.integers(1, 100))
def test_phases_rounded_down_have_the_released_lengths_and_the_run_its_own(
    steps: int, stages: int, continual_steps: int, batch_tokens: int
):
    steps += 2 * stages
    tokens = (steps + continual_steps) * batch_tokens
    for build, phases, preset in ((two_phase, 2 * stages, TWO_PHASE_PRESETS), (staged, stages, STAGED_PRESETS)):
        options = {"stages": stages, **preset["paper-as-released"]}
        schedule = build(MODEL, tokens, staged_tokens=steps * batch_tokens, **options)
        lengths = [phase.tokens // batch_tokens for phase in schedule.in_steps(batch_tokens, 1).phases]
        assert lengths[:-1] == [steps // phases] * phases
        assert sum(lengths) == steps + continual_steps


@pytest.mark.parametrize("preset", ["paper-as-written", "paper-as-released"])
@pytest.mark.parametrize("tokens", [1, 499, 999, 1000, 1001])
def test_one_stage_is_full_training_at_any_length(preset: str, tokens: int):
    for build, presets in ((two_phase, TWO_PHASE_PRESETS), (staged, STAGED_PRESETS)):
        options = {"stages": 1, **presets[preset]}
        longer, shorter = (build(MODEL, each, staged_tokens=1000, **options) for each in (3000, tokens))
        assert {(phase.depth, phase.train) for phase in shorter.phases} == {(12, Trainable.ALL)}
        assert shorter.tokens == tokens
        ends = list(accumulate(phase.tokens for phase in longer.phases))
        assert set(accumulate(phase.tokens for phase in shorter.phases)) <= {*ends, tokens}


def test_two_phase_with_one_stage_is_full_training():
    staged = two_phase(MODEL, 1000, staged_tokens=1000, stages=1)
    assert {(phase.depth, phase.train) for phase in staged.phases} == {(12, Trainable.ALL)}
    assert staged.tokens == full(MODEL, 1000).tokens


def test_one_shot_grows_at_its_share_of_the_tokens():
    before, after = one_shot(MODEL, 1000, start_depth=6, grow_at=0.25).phases
    assert (before.depth, before.tokens, after.depth, after.tokens) == (6, 250, 12, 750)


@given(st.integers(2, 12))
def test_stack_begins_with_the_depth_divided_by_the_factor_and_rounded_up(factor: int):
    before, after = stack(MODEL, 1000, growth_factor=factor, grow_at=0.3).phases
    assert (before.tokens, after.tokens, after.depth) == (300, 700, 12)
    assert (before.depth - 1) * factor < 12 <= before.depth * factor


def test_gradual_grows_where_it_is_told_to():
    schedule = gradual(MODEL, 1000, depths=(3, 6, 12), grow_at=(0.3, 0.6))
    assert [(phase.depth, phase.tokens) for phase in schedule.phases] == [(3, 300), (6, 300), (12, 400)]
    assert gradual(MODEL, 1000, depths=(6, 12), grow_at=0.25).phases[0].tokens == 250
    assert gradual(MODEL, 1000, partition="3,3,6", stages=3) == gradual(MODEL, 1000, depths=(3, 6, 12))


@pytest.mark.parametrize(
    ("alpha", "lengths"), [(0.0, [250, 250, 250, 250]), (1.0, [100, 200, 300, 400]), (2.0, [33, 134, 300, 533])]
)
def test_stages_last_in_proportion_to_a_power_of_their_number(alpha: float, lengths: list[int]):
    assert [phase.tokens for phase in gradual(MODEL, 1000, alpha=alpha).phases] == lengths


def sources(schedule: Schedule) -> list[list[int | None]]:
    """For each growth, the blocks that the new ones copy."""
    return [[step.blocks[index].source for index in step.new_blocks] for step in schedule.growth_steps if step]


def test_gradual_copies_the_blocks_added_last_and_stack_all_of_them():
    assert sources(gradual(MODEL, 1000)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert sources(stack(MODEL, 1000)) == [[0, 1, 2] * 3]


def test_midas_copies_the_middle_group_and_lidas_the_exact_middle():
    model = replace(MODEL, depth=24)
    midas, lidas = (middle(model, 1000, new_blocks=4, variant=variant) for variant in ("midas", "lidas"))
    assert [phase.depth for phase in midas.phases] == [4, 8, 12, 16, 20, 24]
    assert sources(midas) == [[*range(first, first + 4)] for first in (0, 0, 4, 4, 8)]
    assert sources(lidas) == [[*range(first, first + 4)] for first in (0, 2, 4, 6, 8)]
    for schedule in (midas, lidas):
        for step in schedule.growth_steps[1:]:
            new = step.new_blocks  # right above what they copy
            assert [step.blocks[index - 4].source for index in new] == [step.blocks[index].source for index in new]


@pytest.mark.parametrize(("alpha", "speedup"), [(1, 1.40), (2, 1.24)])
def test_middle_costs_what_its_source_reports(alpha: float, speedup: float):
    """Saunshi et al. 2024: 24 to 40 % less time, on 24 layers in groups of 4, at equal steps."""
    phases = middle(replace(MODEL, depth=24), 10**9, new_blocks=4, alpha=alpha).phases
    layers = sum(phase.tokens * phase.depth for phase in phases) / 10**9
    assert 24 / layers == pytest.approx(speedup, abs=0.02)


@given(st.integers(1, 40).flatmap(lambda depth: st.tuples(st.just(depth), st.integers(1, depth))))
def test_middle_reaches_any_depth_by_groups_of_any_size(depth_size: tuple[int, int]):
    depth, size = depth_size
    for variant in ("midas", "lidas"):
        schedule = middle(replace(MODEL, depth=depth), 10**6, new_blocks=size, variant=variant)
        assert schedule.depth == depth
        assert all(len(copied) == size for copied in sources(schedule))


def test_a_layout_takes_the_place_of_the_operator():
    by_layout = one_shot(MODEL, 1000, layout="0-5,0-5")
    by_operator = one_shot(MODEL, 1000, operator="stack")
    assert by_layout.growth_steps == by_operator.growth_steps != one_shot(MODEL, 1000).growth_steps
    zero = one_shot(MODEL, 1000, layout="0-5,0-5", operator="copy-zero").growth_steps[1]
    assert zero is not None and all(zero.blocks[index].zero_output for index in zero.new_blocks)


@pytest.mark.parametrize("recipe", ["one-shot", "stack", "gradual", "middle", "loop-untie"])
def test_growth_can_wait_for_a_plateau_until_its_share_at_the_latest(recipe: str):
    build = get_recipe(recipe)
    fixed = build.schedule(MODEL, 10**6, 10**6, {})
    triggered = build.schedule(MODEL, 10**6, 10**6, {"grow_on": "plateau:slope=0.3,earliest=0.5,checks=10"})
    assert [replace(phase, until=None) for phase in triggered.phases] == list(fixed.phases)
    for phase in triggered.phases[:-1]:
        assert phase.until == Plateau.within(phase.tokens, slope=0.3, earliest=0.5, checks=10)
    assert triggered.phases[-1].until is None


@pytest.mark.parametrize("recipe", [name for name, made in RECIPES.items() if "residual_scale" in made.options])
def test_growth_options_mean_the_same_in_every_recipe_that_grows(recipe: str):
    options = {"residual_scale": 0.5, "noise": 0.01, "rewarm_tokens": 100, "rewarm": "all"}
    if recipe in ("two-phase", "staged", "expand"):
        options["operator"] = "stack"
    schedule = get_recipe(recipe).schedule(MODEL, 10**6, 10**5, options)
    steps = [step for step in schedule.growth_steps if step is not None]
    assert steps and {step.noise for step in steps} == {0.01}
    assert {step.blocks[index].residual_scale for step in steps for index in step.new_blocks} == {0.5}
    growths = [schedule.growth_at(place) for place, step in enumerate(schedule.growth_steps) if step is not None]
    assert {(growth.rewarm_tokens, growth.rewarm) for growth in growths} == {(100, "all")}


def test_loop_untie_executes_the_middle_several_times_and_then_gives_every_layer_its_own_block():
    looped, untied = loop_untie(MODEL, 1000, untie_at=0.3).phases
    assert looped.layers == (0, 1, *(2, 3, 4, 5) * 2, 6, 7) and untied.layers == ()
    assert (looped.tokens, untied.tokens) == (300, 700)
    step = loop_untie(MODEL, 1000).growth_steps[1]
    assert step is not None and [block.source for block in step.blocks] == [*looped.layers]


@given(st.integers(2, 40), st.data())
def test_any_group_that_fits_can_be_looped_any_number_of_times(depth: int, data: st.DataObject):
    loops = data.draw(st.integers(2, depth))
    size = data.draw(st.integers(1, depth // loops) | st.none())
    schedule = loop_untie(replace(MODEL, depth=depth), 10**6, loops=loops, looped_blocks=size)
    looped, untied = schedule.phases
    assert looped.depth == untied.depth == untied.blocks == depth
    assert looped.blocks <= depth - (loops - 1)
    counts = [looped.layers.count(block) for block in range(looped.blocks)]
    assert set(counts) <= {1, loops}


def test_unfreeze_trains_from_the_top_down_and_in_the_end_everything():
    phases = unfreeze(MODEL, 1000, stages=3, unfrozen_at=0.4).phases
    assert [phase.tokens for phase in phases] == [200, 200, 600]
    assert [phase.train.blocks for phase in phases[:2]] == [tuple(range(8, 12)), tuple(range(4, 12))]
    assert all(phase.train.head and not phase.train.embeddings for phase in phases[:2])
    assert phases[2].train is Trainable.ALL and {phase.depth for phase in phases} == {12}


@pytest.mark.parametrize("recipe", ["gradual", "unfreeze"])
def test_one_stage_is_full_training(recipe: str):
    (phase,) = get_recipe(recipe).schedule(MODEL, 1000, 1000, {"stages": 1}).phases
    assert (phase.depth, phase.tokens, phase.train) == (12, 1000, Trainable.ALL)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: one_shot(MODEL, 1000, grow_at=(0.3, 0.6)),
        lambda: stack(MODEL, 1000, growth_factor=1),
        lambda: stack(MODEL, 1000, growth_factor=13),
        lambda: gradual(MODEL, 1000, depths=(6, 3, 12)),
        lambda: gradual(MODEL, 1000, depths=(3, 6)),
        lambda: gradual(MODEL, 1000, depths=(-1, 12)),
        lambda: gradual(MODEL, 1000, depths=(3, 12), stages=3),
        lambda: gradual(MODEL, 1000, depths=(3, 6, 12), grow_at=(0.6, 0.3)),
        lambda: gradual(MODEL, 1000, depths=(3, 6, 12), grow_at=0.5),
        lambda: gradual(MODEL, 1000, depths=(3, 12), grow_at=1.5),
        lambda: gradual(MODEL, 1000, alpha=-1),
        lambda: gradual(MODEL, 1000, alpha=float("nan")),
        lambda: middle(MODEL, 1000, new_blocks=0),
        lambda: middle(MODEL, 1000, new_blocks=13),
        lambda: middle(MODEL, 1000, grow_at=0.5),
        lambda: middle(MODEL, 1000, variant="middas"),
        lambda: one_shot(MODEL, 1000, layout="0-4,0-5"),
        lambda: one_shot(MODEL, 1000, layout="0-5,0-5", operator="last"),
        lambda: one_shot(MODEL, 1000, grow_on="plateau"),
        lambda: one_shot(MODEL, 1000, grow_on="plateau:slope=x"),
        lambda: one_shot(MODEL, 1000, grow_on="plateau:slope=0.2,often=3"),
        lambda: loop_untie(MODEL, 1000, loops=1),
        lambda: loop_untie(MODEL, 1000, loops=13),
        lambda: loop_untie(MODEL, 1000, loops=4, looped_blocks=4),
        lambda: loop_untie(MODEL, 1000, untie_at=1),
        lambda: unfreeze(MODEL, 1000, unfrozen_at=0),
        lambda: unfreeze(MODEL, 1000, stages=13),
        lambda: one_shot(MODEL, 1000, grow_at=1.0),
        lambda: one_shot(MODEL, 1000, start_depth=12),
        lambda: one_shot(MODEL, 1000, start_depth=0),
        lambda: small(MODEL, 1000, start_depth=12),
        lambda: two_phase(MODEL, 1000, staged_tokens=2000),
        lambda: two_phase(MODEL, 2000, staged_tokens=1000, stages=13),
        lambda: Schedule(phases=()),
        lambda: Schedule(phases=(Phase(depth=2, tokens=1, label="a"), Phase(depth=1, tokens=1, label="b"))),
        lambda: two_phase(MODEL, 30, staged_tokens=10, stages=4).in_steps(10, 10),
    ],
)
def test_what_cannot_be_trained_is_refused(wrong):
    with pytest.raises(InvalidValueError) as refused:
        wrong()
    assert refused.value.field or "phase" in refused.value.problem
