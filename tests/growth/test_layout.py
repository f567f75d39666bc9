import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.growth.layout import PLACEMENTS, Placement, find_new_blocks


def test_the_layouts_of_three_old_blocks_and_two_new_ones():
    assert {name: placement.arrange(3, 2) for name, placement in PLACEMENTS.items()} == {
        "top": (0, 1, 2, None, None),
        "bottom": (None, None, 0, 1, 2),
        "middle": (0, 1, None, None, 2),
        "interleaved": (0, 1, None, 2, None),
    }


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=lambda placement: placement.name)
@given(old=st.integers(0, 20), new=st.integers(0, 20))
def test_a_layout_has_every_old_block_in_order_and_the_requested_number_of_new_ones(
    placement: Placement, old: int, new: int
):
    layout = placement.arrange(old, new)
    assert [block for block in layout if block is not None] == list(range(old))
    assert len(find_new_blocks(layout)) == new and len(layout) == old + new


@given(old=st.integers(1, 20), times=st.integers(1, 4))
def test_interleaving_as_many_new_blocks_puts_one_above_each_old_one(old: int, times: int):
    layout = PLACEMENTS["interleaved"].arrange(old, times * old)
    assert layout == tuple(entry for block in range(old) for entry in (block, *[None] * times))
