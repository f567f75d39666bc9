"""What each arm does: strips and sentences from its phases, and from old files without phases."""

from dataclasses import replace
from typing import Any

import pytest

from deepen.compute.ledger import Ledger
from deepen.model.config import ModelConfig
from deepen.report.figures.strips import STRIP_WIDTH, draw_strips, find_phases
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.schedule.recipes import RECIPES
from deepen.study.results.phases import record_phases
from deepen.study.results.schema import Results

BATCH = 32


def make_phases(model: ModelConfig, recipe: str, **options: Any) -> list[dict[str, Any]]:
    schedule = RECIPES[recipe].build(model, 40 * BATCH, **options).in_steps(BATCH, model.context)
    return [phase.to_json() for phase in record_phases(schedule, Ledger(model=model))]


def summarize_arms(**phases: list[dict[str, Any]]) -> StudySummary:
    arms = [{"name": name, "seed": 0, "phases": each} for name, each in phases.items()]
    return summarize(Results.from_json({"baseline": "full", "arms": arms}))


def test_a_strip_covers_each_layer_of_each_phase_once(model: ModelConfig):
    drawn = draw_strips(
        summarize_arms(
            full=make_phases(model, "full"),
            grown=make_phases(model, "one-shot", start_depth=3, grow_at=0.25),
        )
    )
    full, grown = drawn.strips
    assert drawn.height == model.depth
    assert [(bar.left, bar.width, bar.top, bar.height) for bar in full.bars] == [(0, STRIP_WIDTH, 0, 12)]
    assert [(bar.left, bar.width, bar.top, bar.height) for bar in grown.bars] == [
        (0, 250, 9, 3),
        (250, 750, 0, 12),
    ]
    assert sum(added.height for added in grown.added) == 9
    assert {added.left for added in grown.added} == {250}


def test_frozen_blocks_are_drawn_apart_and_named_in_the_sentence(model: ModelConfig):
    phases = make_phases(model, "two-phase", stages=4, staged_tokens=20 * BATCH)
    drawn = draw_strips(summarize_arms(staged=phases))
    [strip] = drawn.strips
    frozen = sum(bar.width for bar in strip.bars if bar.role == "forward")
    alone = sum(phase["tokens"] for phase in phases if phase["cut"])
    assert frozen / STRIP_WIDTH == pytest.approx(alone / sum(phase["tokens"] for phase in phases), abs=0.01)
    assert list(drawn.roles) == ["trained", "forward"]
    assert "only the new blocks are trained" in strip.sentence


def test_sentences_say_depth_growth_and_training(model: ModelConfig):
    drawn = draw_strips(
        summarize_arms(
            full=make_phases(model, "full"),
            stack=make_phases(model, "one-shot", start_depth=6, grow_at=0.5, operator="stack"),
            loop=make_phases(model, "loop-untie"),
        )
    )
    full, stack, loop = (strip.sentence for strip in drawn.strips)
    assert full == "12 blocks from the first token to the last. Everything is trained."
    assert stack == (
        "6 blocks for 50 % of its tokens, then 12 blocks. "
        "New blocks are a copy of the whole stack on top (stack). Everything is trained."
    )
    assert "executed as 12 layers" in loop and drawn.has_repeats


def test_seeds_that_grew_at_different_tokens_are_noted(model: ModelConfig):
    one, other = (make_phases(model, "one-shot", start_depth=6, grow_at=share) for share in (0.25, 0.5))
    arms = [{"name": "a", "seed": seed, "phases": each} for seed, each in enumerate((one, other))]
    [strip] = draw_strips(summarize(Results.from_json({"arms": arms}))).strips
    assert strip.note == "drawn for seed 0; other seeds grow at other tokens"


def test_files_without_phases_show_the_depths_of_the_curve():
    curve = [{"tokens": tokens, "depth": depth} for tokens, depth in ((10, 2), (20, 2), (30, 4), (60, 4))]
    mark = {"accounting": "flops", "budget_share": 1.0, "tokens": 40, "val_loss": 1.0}
    arm = {"name": "old", "seed": 0, "curve": curve, "marks": [mark]}
    study = summarize(Results.from_json({"arms": [arm]}))
    phases = find_phases(study.arms[0])
    assert [(phase.tokens, phase.depth) for phase in phases] == [(20, 2), (20, 4)]
    drawn = draw_strips(study)
    assert list(drawn.roles) == ["unknown"] and "trained" not in drawn.strips[0].sentence
    nothing = replace(study, arms=(replace(study.arms[0], runs=()),))
    assert draw_strips(nothing).strips == ()


@pytest.mark.parametrize("change", [{"tokens": "?"}, {"tokens": -7}, {"depth": 10**30}, {"depth": -1}])
def test_phases_that_cannot_be_drawn_are_left_out(model: ModelConfig, change: dict[str, Any]):
    first, last = make_phases(model, "one-shot", start_depth=3, grow_at=0.25)
    drawn = draw_strips(summarize_arms(grown=[first | change, last], nothing=[first | change]))
    [strip] = drawn.strips
    assert [(bar.left, bar.width, bar.height) for bar in strip.bars] == [(0, STRIP_WIDTH, 12)]
    assert strip.sentence.startswith("12 blocks from the first token to the last.")
    assert drawn.ticks[-1][0] <= STRIP_WIDTH


def test_depths_of_a_curve_that_no_model_has_are_left_out():
    curve = [{"tokens": tokens, "depth": depth} for tokens, depth in ((10, 10**30), (20, 2))]
    [arm] = summarize(Results.from_json({"arms": [{"name": "old", "curve": curve}]})).arms
    assert [phase.depth for phase in find_phases(arm)] == [2]
