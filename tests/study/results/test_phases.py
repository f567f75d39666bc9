"""The phases of an arm as results.json records them."""

import pytest

from deepen.compute.ledger import Ledger
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.recipes import RECIPES
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable
from deepen.study.results.phases import PhaseResult, record_phases

BATCH = 32


def record(model: ModelConfig, schedule: Schedule) -> tuple[PhaseResult, ...]:
    return record_phases(schedule.in_steps(BATCH, model.context), Ledger(model=model))


def test_new_blocks_that_train_alone_are_told_from_the_frozen_ones(model: ModelConfig):
    phases = (
        Phase(depth=2, tokens=4 * BATCH, label="shallow"),
        Phase(depth=4, tokens=4 * BATCH, label="new blocks alone", train=Trainable.NEW_BLOCKS),
    )
    first, second = record(model, Schedule(phases=phases))
    assert (first.trained_layers, first.cut, first.new_layers, first.growth) == ((0, 1), 0, (), "")
    assert (second.trained_layers, second.cut, second.new_layers) == ((2, 3), 2, (2, 3))
    assert (second.growth, second.trained) == ("random", "new-blocks")


def test_layers_that_share_blocks_are_counted_apart_from_blocks(model: ModelConfig):
    phases = (Phase(depth=4, tokens=4 * BATCH, label="looped", layers=(0, 1, 0, 1)),)
    [phase] = record(model, Schedule(phases=phases))
    assert (phase.depth, phase.blocks, phase.layers) == (4, 2, (0, 1, 0, 1))
    assert phase.trained_layers == (0, 1, 2, 3)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_recorded_from_its_first_token_to_its_last(name: str, model: ModelConfig):
    recipe, tokens = RECIPES[name], 48 * BATCH
    staged = {"staged_tokens": tokens // 2} if recipe.has_staged_part else {}
    schedule = recipe.build(model, tokens, **staged).in_steps(BATCH, model.context)
    phases = record_phases(schedule, Ledger(model=model))
    assert sum(phase.tokens for phase in phases) == schedule.tokens
    assert [phase.depth for phase in phases] == [phase.depth for phase in schedule.phases]
    assert PhaseResult.from_json(phases[0].to_json()) == phases[0]
