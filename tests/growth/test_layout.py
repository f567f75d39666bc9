import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.growth.layout import (
    PLACEMENTS,
    GrownBlock,
    Placement,
    describe_layout,
    follow_layout,
    parse_layout,
)


def test_the_layouts_of_three_old_blocks_and_two_new_ones():
    assert {name: placement.arrange(3, 2) for name, placement in PLACEMENTS.items()} == {
        "top": (0, 1, 2, None, None),
        "bottom": (None, None, 0, 1, 2),
        "middle": (0, 1, None, None, 2),
        "interleaved": (0, 1, None, 2, None),
        "above-middle": (0, 1, None, None, 2),
    }


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=lambda placement: placement.name)
@given(old=st.integers(0, 20), new=st.integers(0, 20))
def test_a_layout_has_every_old_block_in_order_and_the_requested_number_of_new_ones(
    placement: Placement, old: int, new: int
):
    layout = placement.arrange(old, new)
    assert [block for block in layout if block is not None] == list(range(old))
    assert layout.count(None) == new and len(layout) == old + new


@given(old=st.integers(1, 20), times=st.integers(1, 4))
def test_interleaving_as_many_new_blocks_puts_one_above_each_old_one(old: int, times: int):
    layout = PLACEMENTS["interleaved"].arrange(old, times * old)
    assert layout == tuple(entry for block in range(old) for entry in (block, *[None] * times))


@pytest.mark.parametrize(
    ("text", "layout"),
    [("0-3,2-5", (0, 1, 2, 3, 2, 3, 4, 5)), ("0,1,0,1", (0, 1, 0, 1)), (" 0-1, 1 ", (0, 1, 1)), ("7", (7,))],
)
def test_layouts_are_ranges_with_both_ends_included(text: str, layout: tuple[int, ...]):
    assert parse_layout(text) == layout


@given(st.lists(st.integers(0, 30), min_size=1))
def test_a_layout_that_is_described_is_read_back(layout: list[int]):
    assert parse_layout(describe_layout(layout)) == tuple(layout)


@pytest.mark.parametrize("text", ["", "0-", "-3", "3-1", "0-3;2-5", "0:3", "a", "0-1,,2"])
def test_what_is_not_a_layout_is_refused(text: str):
    with pytest.raises(InvalidValueError, match="both ends included, such as 0-23,8-31"):
        parse_layout(text)


@pytest.mark.parametrize("text", ["0-99999", "0-9000,0-9000"])
def test_a_layout_of_too_many_blocks_is_refused(text: str):
    with pytest.raises(InvalidValueError, match="layout has more than 10,000 blocks"):
        parse_layout(text)


def test_the_first_of_equal_blocks_is_the_old_one():
    blocks = follow_layout((0, 1, 0, 2), 3, residual_scale=0.0)
    assert blocks == (
        GrownBlock(source=0, is_new=False),
        GrownBlock(source=1, is_new=False),
        GrownBlock(source=0, is_new=True, residual_scale=0.0),
        GrownBlock(source=2, is_new=False),
    )


def test_a_layout_fits_the_model_and_only_adds():
    with pytest.raises(InvalidValueError, match="has block 3, but the model has 3 blocks: use 0 to 2"):
        follow_layout((0, 1, 2, 3), 3)
    with pytest.raises(InvalidValueError, match="has 3 blocks, but the model has 3 already"):
        follow_layout((0, 1, 1), 3)


def test_counts_in_messages_are_worded_apart():
    with pytest.raises(InvalidValueError, match="has 1 block, but the model has 4 already"):
        follow_layout([2], 4)
    with pytest.raises(InvalidValueError, match=r"has block 1, but the model has 1 block: use 0$"):
        follow_layout([0, 1], 1)
