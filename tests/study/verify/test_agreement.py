"""Whether losses agree: bit for bit, within what rounding does, or not at all."""

from typing import Any

import pytest

from deepen.study.verify.agreement import (
    LOOK_AHEAD,
    Agreement,
    Allowance,
    QuantityComparison,
    compare_evaluations,
    compare_steps,
    count_telling_steps,
)

LOSSES = (6.0, 5.8, 5.9, 5.6, 5.7, 5.5, 5.6, 5.4, 5.5, 5.2, 5.3, 5.1)
LAST = len(LOSSES) - 1


def steps(*losses: float, lr: float = 1e-3) -> list[dict[str, Any]]:
    return [
        {"step": n, "tokens": 32 * n, "loss": loss, "lr": lr, "grad_norm": 1.0, "flops": 100 * n}
        for n, loss in enumerate(losses, start=1)
    ]


def moved(by: dict[int, float]) -> list[dict[str, Any]]:
    """The losses with some of them, by index, moved by a distance."""
    return steps(*(loss + by.get(index, 0.0) for index, loss in enumerate(LOSSES)))


def by_name(compared: tuple[QuantityComparison, ...]) -> dict[str, QuantityComparison]:
    return {each.what: each for each in compared}


def test_equal_logs_agree_bit_for_bit() -> None:
    compared = compare_steps(steps(*LOSSES), steps(*LOSSES))
    assert {each.agreement for each in compared} == {Agreement.BIT_FOR_BIT}
    assert {each.compared for each in compared} == {len(LOSSES)}


def test_the_last_bit_of_one_loss_is_a_difference() -> None:
    again = steps(*LOSSES)
    again[3]["loss"] = 5.6 + 1e-15
    loss = by_name(compare_steps(steps(*LOSSES), again))["training loss"]
    assert (loss.agreement, loss.differs_at) == (Agreement.DIFFERS, again[3]["tokens"])


@pytest.mark.parametrize(("distance", "agreement"), [(9e-5, "within rounding"), (2e-4, "differs")])
def test_losses_may_differ_by_ten_times_what_rounding_does_here(distance: float, agreement: str) -> None:
    again = steps(*LOSSES)
    allowance = Allowance.measure(again, moved({3: 1e-6, 4: 1e-5}), "fp32")
    recorded = moved({LAST: distance})
    assert by_name(compare_steps(recorded, again, allowance))["training loss"].agreement == agreement


def test_rounding_that_grew_later_allows_nothing_earlier() -> None:
    again = steps(*LOSSES)
    allowance = Allowance.measure(again, moved({LAST: 1e-2}), "fp32")
    soon = by_name(compare_steps(moved({LAST - LOOK_AHEAD: 1e-3}), again, allowance))["training loss"]
    assert soon.agreement is Agreement.WITHIN_ROUNDING
    loss = by_name(compare_steps(moved({1: 1e-3}), again, allowance))["training loss"]
    assert (loss.agreement, loss.differs_at) == (Agreement.DIFFERS, 64)


def test_rounding_is_no_excuse_for_another_learning_rate() -> None:
    again = steps(*LOSSES)
    allowance = Allowance.measure(again, moved(dict.fromkeys(range(len(LOSSES)), 1.0)), "fp32")
    compared = by_name(compare_steps(steps(*LOSSES, lr=1.0001e-3), again, allowance))
    assert compared["learning rate"].agreement is Agreement.DIFFERS
    assert compared["training loss"].agreement is Agreement.BIT_FOR_BIT


@pytest.mark.parametrize("which", [0, -1])
def test_a_step_that_one_of_them_lacks_is_a_difference(which: int) -> None:
    fewer = steps(*LOSSES)
    del fewer[which]
    for compared in (compare_steps(fewer, steps(*LOSSES)), compare_steps(steps(*LOSSES), fewer)):
        assert {each.agreement for each in compared} == {Agreement.DIFFERS}


def test_losses_that_are_not_finite_agree_with_their_like_only() -> None:
    nan = float("nan")
    assert by_name(compare_steps(steps(nan), steps(nan)))["training loss"].agreement is Agreement.BIT_FOR_BIT
    assert by_name(compare_steps(steps(nan), steps(6.0)))["training loss"].agreement is Agreement.DIFFERS


def test_an_evaluation_is_compared_by_task_and_with_the_rounding_so_far() -> None:
    def lines(validation: float, hellaswag: float) -> list[dict[str, Any]]:
        return [
            {"task": "validation", "tokens": 96, "value": validation},
            {"task": "hellaswag", "tokens": 96, "value": hellaswag},
        ]

    compared = by_name(compare_evaluations(lines(5.0, 0.25), lines(5.0, 0.26)))
    assert compared["validation loss"].agreement is Agreement.BIT_FOR_BIT
    assert compared["hellaswag"].agreement is Agreement.DIFFERS
    allowance = Allowance.measure(steps(*LOSSES), moved({2: 1e-4, LAST: 1e-2}), "fp32")
    assert compare_evaluations(lines(5.0, 0.25), lines(5.0009, 0.25), allowance)[0].agreement == "within rounding"
    assert compare_evaluations(lines(5.0, 0.25), lines(5.0015, 0.25), allowance)[0].agreement == "differs"


def test_steps_can_tell_until_rounding_moves_losses_as_batches_do() -> None:
    again = steps(*LOSSES)
    quiet = Allowance.measure(again, moved(dict.fromkeys(range(len(LOSSES)), 1e-6)), "fp32")
    assert count_telling_steps(again, quiet) == len(LOSSES)
    late = Allowance.measure(again, moved({LAST: 1.0}), "fp32")
    assert count_telling_steps(again, late) == LAST - LOOK_AHEAD
