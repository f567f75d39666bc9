"""Errors that a user can cause: shown under other names, collected, pickled."""

import pickle

import pytest

from deepen.errors import ErrorCollector, InvalidValueError, InvalidValuesError, RunError, add_context, join_or

WRONG = InvalidValueError("is 3", field="batch_tokens", value=3, remedy="use `batch_tokens` 4", allowed=("4",))


def test_fields_can_be_shown_under_other_names():
    assert str(WRONG) == "batch_tokens is 3: use batch_tokens 4"
    assert WRONG.describe(lambda field: f"--{field}") == "--batch_tokens is 3: use --batch_tokens 4"


@pytest.mark.parametrize(
    "error", [WRONG, RunError("it stopped"), InvalidValuesError([WRONG, ValueError("other")])]
)
def test_an_error_is_the_same_in_another_process(error: Exception):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error) and str(arrived) == str(error)
    if error is WRONG:
        assert (arrived.field, arrived.value, arrived.remedy, arrived.allowed) == (
            "batch_tokens", 3, "use `batch_tokens` 4", ("4",)
        )  # fmt: skip


def fails(*errors: ValueError) -> None:
    raise errors[0] if len(errors) == 1 else InvalidValuesError(errors)


def test_all_errors_are_raised_together_in_order_without_duplicates():
    problems = ErrorCollector()
    problems.raise_all()
    assert problems.attempt(lambda: 5) == 5
    other = ValueError("other")
    assert problems.attempt(lambda: fails(other)) is None
    problems.attempt(lambda: fails(WRONG, other))
    with pytest.raises(InvalidValuesError) as raised:
        problems.raise_all()
    assert [str(error) for error in raised.value.errors] == ["other", str(WRONG)]


def test_other_errors_are_not_collected():
    with pytest.raises(ZeroDivisionError):
        ErrorCollector().attempt(lambda: 1 // 0)


@pytest.mark.parametrize(("names", "words"), [("a", "a"), ("ab", "a or b"), ("abc", "a, b or c")])
def test_alternatives_are_listed_in_words(names: str, words: str):
    assert join_or(names) == words


def test_a_context_is_put_before_each_error_and_changes_nothing_else():
    other = InvalidValueError("is 4", field="depth")
    added = add_context(InvalidValuesError([WRONG, other, ValueError("it failed")]), "arm full")
    assert str(added).splitlines() == [f"arm full: {WRONG}", f"arm full: {other}", "arm full: it failed"]
    within = WRONG.within("arm full")
    assert within.describe(lambda field: f"--{field}") == "arm full: --batch_tokens is 3: use --batch_tokens 4"
    kept = ("problem", "field", "value", "remedy", "allowed")
    assert all(getattr(within, name) == getattr(WRONG, name) for name in kept)
    assert str(within.within("map")) == str(pickle.loads(pickle.dumps(within.within("map")))) == f"map: {within}"
