from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase, Schedule
from deepen.schedule.recipes import RECIPES, get_recipe
from deepen.schedule.recipes.constant_depth import full, small
from deepen.schedule.recipes.gradual import gradual
from deepen.schedule.recipes.one_shot import one_shot, stack
from deepen.schedule.recipes.stages import STAGED_PRESETS, TWO_PHASE_PRESETS, staged, two_phase
from deepen.schedule.recipes.unfreeze import unfreeze
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
    with pytest.raises(ValueError, match=r"depth|grow_at|tokens|stages|phases|growth_factor|alpha|unfrozen_at"):
        wrong()
