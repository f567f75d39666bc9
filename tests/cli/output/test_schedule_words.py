"""Schedules as bars and in words, for `deepen recipes`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.cli.output.schedule_words import describe_schedule, draw_bars, draw_schedule
from deepen.growth.spec import Growth
from deepen.schedule.phase import Phase
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 96)), min_size=1, max_size=8), st.integers(1, 40))
def test_bars_fill_the_width_and_rise_with_the_height(stretches: list[tuple[int, int]], width: int):
    rising = [
        (length, height) for (length, _), height in zip(stretches, sorted(h for _, h in stretches), strict=True)
    ]
    bars = draw_bars(rising, 96, width)
    assert len(bars) == width
    assert list(bars) == sorted(bars, key="·▁▂▃▄▅▆▇█".index)


def test_bars_show_when_and_how_deep():
    assert draw_bars([(1, 3), (1, 6), (2, 12)], 12, 8) == "▂▂▄▄████"
    assert draw_bars([(1, 0), (1, 12)], 12, 4) == "··██"


def test_bars_of_trained_and_stored_blocks_are_drawn_where_they_differ():
    plain = Schedule(phases=(Phase(depth=2, tokens=10, label="a"), Phase(depth=4, tokens=10, label="b")))
    assert dict(draw_schedule(plain, 4)) == {"layers": "▄▄██"}
    frozen = Schedule(
        phases=(
            Phase(depth=4, tokens=10, label="a", train=Trainable.explicit((3,))),
            Phase(depth=4, tokens=10, label="b"),
        )
    )
    assert dict(draw_schedule(frozen, 4)) == {"layers": "████", "trained": "▂▂██"}
    looped = Schedule(phases=(Phase(depth=4, tokens=10, label="a", layers=(0, 1, 0, 1)),))
    assert dict(draw_schedule(looped, 4)) == {"layers": "████", "stored": "▄▄▄▄"}
    grown = Schedule(phases=(Phase(depth=4, tokens=10, label="a"),), start_depth=2)
    assert dict(draw_schedule(grown, 6)) == {"layers": "▄ ████"}


@pytest.mark.parametrize(
    ("growth", "promise"),
    [
        (Growth(operator="stack"), "2, 4 blocks; the logits change at growth; everything is trained"),
        (Growth(operator="copy-zero"), "2, 4 blocks; the logits stay equal at growth; everything is trained"),
        (Growth(layout=(0, 1, 0, 1)), "2, 4 blocks; the logits change at growth; everything is trained"),
        (
            Growth(operator="copy-zero", layout=(0, 1, 0, 1)),
            "2, 4 blocks; the logits stay equal at growth; everything is trained",
        ),
        (
            Growth(operator="stack", residual_scale=0),
            "2, 4 blocks; the logits stay equal at growth; everything is trained",
        ),
    ],
)
def test_the_promise_of_a_schedule_is_that_of_its_growth(growth: Growth, promise: str):
    phases = (Phase(depth=2, tokens=10, label="a"), Phase(depth=4, tokens=10, label="b"))
    assert describe_schedule(Schedule(phases=phases, growth=growth)) == promise


@pytest.mark.parametrize(("layout", "word"), [((0, 1, 1, 2), "stay equal"), ((0, 1, 2, 2), "change")])
def test_untying_what_was_executed_keeps_the_logits(layout: tuple[int, ...], word: str):
    phases = (
        Phase(depth=4, tokens=10, label="a", layers=(0, 1, 1, 2)),
        Phase(depth=4, tokens=10, label="b", growth=Growth(layout=layout)),
    )
    assert describe_schedule(Schedule(phases=phases)) == (
        f"3, 4 blocks; layers share blocks at first; the logits {word} at growth; everything is trained"
    )
