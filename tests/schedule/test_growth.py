"""Growth in schedules: one for all phases or one for each, and what becomes of phases without tokens."""

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


def phase(depth: int, steps: int = 1, growth: Growth | None = None, **changes: object) -> Phase:
    return Phase(depth=depth, tokens=steps * 32, label=f"{depth} blocks", growth=growth, **changes)  # type: ignore[arg-type]


def sources(schedule: Schedule) -> list[list[int | None]]:
    return [[block.source for block in step.blocks] for step in schedule.growth_steps if step is not None]


def test_a_phase_grows_in_its_own_way_and_the_others_in_the_schedules():
    schedule = Schedule(
        phases=(phase(2), phase(4, growth=Growth(operator="interleave")), phase(6)),
        growth=Growth(operator="last"),
    )
    assert sources(schedule) == [[0, 0, 1, 1], [0, 1, 2, 3, 2, 3]]
    trained = Schedule(
        phases=(
            phase(2),
            phase(4, growth=Growth(operator="interleave"), train=Trainable.NEW_BLOCKS),
            phase(6, train=Trainable.NEW_BLOCKS),
        ),
        growth=Growth(operator="last"),
    ).trained_parts
    assert [parts.blocks for parts in trained] == [(0, 1), (1, 3), (4, 5)]


def test_the_phase_after_one_without_tokens_takes_over_its_growth():
    growth = Growth(operator="interleave")
    schedule = Schedule(phases=(phase(2), phase(4, steps=0, growth=growth), phase(4)))
    assert sources(schedule.in_steps(32, 16)) == sources(schedule) == [[0, 0, 1, 1]]
    kept = Schedule(phases=(phase(2), phase(4, 0, growth), phase(4, 1, Growth(operator="stack"))))
    assert sources(kept.in_steps(32, 16)) == [[0, 1, 0, 1]]


def test_a_run_may_begin_without_blocks_and_end_at_any_depth():
    schedule = Schedule(phases=(phase(0), phase(1), phase(5, growth=Growth(operator="last-block"))))
    assert sources(schedule) == [[None], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (phase(0), phase(4, growth=Growth(operator="middle")), "operator 'middle' copies blocks"),
        (phase(2), phase(4, growth=Growth(layout=(0, 1, 2, 0))), "layout has block 2, but the model has 2 blocks"),
        (phase(2), phase(4, growth=Growth(layout=(0, 1, 0))), "layout has 3 blocks, but the model grows to 4"),
    ],
)
def test_a_growth_that_does_not_fit_its_phase_is_refused(before: Phase, after: Phase, problem: str):
    with pytest.raises(InvalidValueError) as refused:
        Schedule(phases=(before, after))
    assert str(refused.value).startswith(problem)


def test_segments_hold_growth_as_it_is_resolved(model: ModelConfig):
    written = (Growth(operator="stack", moments="copy"), Growth(layout=(0, 1, 2, 0, 1, 2), moments="copy"))
    one, other = (
        split_schedule(
            Schedule(phases=(phase(3), phase(6)), growth=growth, rate=Constant(peak=1e-3)).in_steps(32, 16),
            Ledger(model=model),
        )
        for growth in written
    )
    assert one == other and one[0].growth is None and one[1].growth == written[0].resolve(3, 6)
