"""Retention policies are values, found by name."""

import pytest

from deepen.errors import InvalidValueError
from deepen.study.store.retention import DEFAULT_POLICY, RETENTION_POLICIES, get_retention_policy


def test_a_policy_is_found_by_name_and_an_unknown_name_suggests_the_nearest():
    assert get_retention_policy("forks") is RETENTION_POLICIES["forks"]
    with pytest.raises(InvalidValueError, match="did you mean 'forks'") as wrong:
        get_retention_policy("fork")
    assert wrong.value.field == "keep" and set(wrong.value.allowed) == set(RETENTION_POLICIES)


@pytest.mark.parametrize(("name", "kept"), [("last", ()), ("trunk", ()), ("forks", (2, 3)), ("all", (0, 1, 2, 3))])
def test_the_number_of_segments_that_start_from_a_state_decides_whether_it_stays(name: str, kept: tuple[int, ...]):
    policy = RETENTION_POLICIES[name]
    assert tuple(children for children in range(4) if policy.keeps(children)) == kept
    assert policy.removes_states == (len(kept) < 4)


def test_the_default_keeps_the_trunk_and_nothing_else_that_is_not_needed():
    assert [policy.name for policy in RETENTION_POLICIES.values() if policy.keeps_trunk] == [DEFAULT_POLICY]
