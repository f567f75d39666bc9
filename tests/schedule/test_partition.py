import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.schedule.partition import partition


def test_twelve_blocks_in_eight_stages_as_documented():
    assert partition(12, 8, "spread") == (2, 1, 2, 1, 2, 1, 2, 1)
    assert partition(12, 8, "front") == (2, 2, 2, 2, 1, 1, 1, 1)
    assert partition(12, 8, "back") == (1, 1, 1, 1, 2, 2, 2, 2)
    assert partition(12, 8, "floor") == (1,) * 8
    assert partition(12, 3, "6,3,3") == (6, 3, 3)


@given(
    st.integers(1, 96).flatmap(lambda d: st.tuples(st.just(d), st.integers(1, d))),
    st.sampled_from(["spread", "front", "back"]),
)
def test_every_block_is_placed_once_and_stages_are_nearly_equal(depth_stages: tuple[int, int], policy: str):
    depth, stages = depth_stages
    sizes = partition(depth, stages, policy)
    assert len(sizes) == stages and sum(sizes) == depth and max(sizes) - min(sizes) <= 1


def test_even_stages_must_divide_the_blocks_and_the_error_lists_what_does():
    assert partition(12, 4, "even") == (3, 3, 3, 3)
    with pytest.raises(InvalidValueError) as refused:
        partition(12, 5, "even")
    assert str(refused.value) == (
        "stages is 5, which does not divide 12 blocks into equal stages: "
        "use partition spread (2,3,2,3,2), or stages 1, 2, 3, 4, 6 or 12"
    )


@pytest.mark.parametrize(
    ("stages", "policy", "field"),
    [
        (0, "spread", "stages"),
        (13, "spread", "stages"),
        (3, "6,6", "partition"),
        (2, "13,-1", "partition"),
        (2, "6,x", "partition"),
        (2, "sprad", "partition"),
    ],
)
def test_what_does_not_fit_is_refused(stages: int, policy: str, field: str):
    with pytest.raises(InvalidValueError, match=rf"^{field} ") as refused:
        partition(12, stages, policy)
    assert refused.value.field == field
