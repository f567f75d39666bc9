"""Phases whose layers share blocks, and growth between them."""

import pytest

from deepen.compute.ledger import Ledger
from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.rate import Constant
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable
from deepen.study.compile.pieces import split_schedule

TWICE = (0, 1, 2, 0, 1, 2)


def tied(layers: tuple[int, ...], tokens: int = 32, **fields: object) -> Phase:
    return Phase(depth=len(layers), layers=layers, tokens=tokens, label="tied", **fields)


def untied(depth: int, **fields: object) -> Phase:
    return Phase(depth=depth, tokens=32, label="untied", **fields)


def pieces(*phases: Phase, **fields: object):
    model = ModelConfig(name="tiny", depth=6, width=8, heads=2, context=16, vocab=32)
    return split_schedule(Schedule(phases=phases, rate=Constant(), **fields).in_steps(16, 16), Ledger(model=model))


def test_depth_counts_executed_layers_and_blocks_stored_ones():
    assert (tied(TWICE).depth, tied(TWICE).blocks) == (6, 3)
    assert (untied(6).depth, untied(6).blocks) == (6, 6)
    assert tied((0, 1, 2)) == Phase(depth=3, tokens=32, label="tied")


@pytest.mark.parametrize(
    ("layers", "depth", "problem"),
    [
        ((0, 2), 2, r"layers of phase 'x' are 0, 2: they must name each block from 0 to the highest: such as"),
        ((0, -1), 2, "they must name each block from 0"),
        ((0, 0.0), 2, "they must name each block from 0"),
        ((0, 0, 1), 2, "layers of phase 'x' are 3, but its depth is 2: name one block for each executed layer"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: tuple[int, ...], depth: int, problem: str):
    with pytest.raises(InvalidValueError, match=problem):
        Phase(depth=depth, tokens=1, label="x", layers=layers)


def test_a_phase_trains_stored_blocks():
    with pytest.raises(InvalidValueError, match="train of phase 'tied' is blocks:3, but the phase has 3 blocks"):
        tied(TWICE, train=Trainable.explicit((3,)))


def test_executing_the_same_blocks_more_often_is_not_growth():
    first, second, third = pieces(tied((0, 1, 0)), tied((0, 1, 0, 1)), untied(2))
    assert (first.depth, second.depth, third.depth) == (2, 2, 2)
    assert (first.growth, second.growth, third.growth) == (None, None, None)
    assert first.trains.layers == (0, 1, 0) and third.trains.layers == ()
    assert first.flops_per_step < second.flops_per_step


def test_a_model_never_loses_stored_blocks():
    with pytest.raises(InvalidValueError, match="depth falls from 6 to 3 at 'tied': models only grow deeper"):
        Schedule(phases=(untied(6), tied(TWICE)))


def test_untying_copies_the_block_of_each_layer():
    by_name = pieces(tied(TWICE), untied(6), growth=Growth(operator="untie", moments="copy"))
    by_layout = pieces(tied(TWICE), untied(6, growth=Growth(layout=TWICE, moments="copy")))
    assert by_name == by_layout
    step = by_name[1].growth
    assert step is not None and [block.source for block in step.blocks] == list(TWICE)
    assert step.new_blocks == (3, 4, 5)
    assert by_name[0].flops_per_step == by_name[1].flops_per_step


def test_blocks_added_while_others_are_shared_are_counted_as_stored():
    grown = pieces(tied((0, 1, 0)), tied((0, 1, 2, 0)), growth=Growth(operator="random"))[1]
    assert grown.depth == 3 and grown.growth is not None and grown.growth.new_blocks == (2,)


@pytest.mark.parametrize(
    ("phases", "problem"),
    [
        (
            (untied(3), untied(6)),
            "operator 'untie' gives each layer a block of its own, but before growth no layers",
        ),
        (
            (tied((0, 1, 0)), untied(6)),
            "before growth 3 layers share blocks, and the model grows to 6 blocks: give",
        ),
    ],
)
def test_untying_what_is_not_tied_is_refused(phases: tuple[Phase, ...], problem: str):
    with pytest.raises(InvalidValueError, match=problem):
        Schedule(phases=phases, growth=Growth(operator="untie"))


def test_untying_leaves_no_choice_of_placement():
    with pytest.raises(InvalidValueError, match="placement is top, but operator 'untie' decides"):
        Growth(operator="untie", placement="top")
